/** Numbers of packet sockets: linux/socket.h, linux/if_packet.h, linux/net.h, asm-generic/socket.h. */

export const AF_PACKET = 17;
export const SOCK_NONBLOCK = 0x800;
export const SOL_PACKET = 263;
export const PACKET_STATISTICS = 6;
export const SO_RCVBUF = 8;
export const SO_RCVBUFFORCE = 33;
