/** Numbers of sockets of the Internet protocols: linux/net.h, asm-generic/socket.h, linux/in.h, linux/in6.h. */

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SO_REUSEADDR = 2;
export const SO_BINDTOIFINDEX = 62;
export const SO_NETNS_COOKIE = 71;
export const SOL_IP = 0;
export const IP_MTU_DISCOVER = 10;
export const IP_PMTUDISC_PROBE = 3;
export const IP_FREEBIND = 15;
export const IP_PMTUDISC_DO = 2;
export const IP_TTL = 2;
export const IPPROTO_ICMP = 1;
export const IPPROTO_UDP = 17;
export const IPPROTO_ICMPV6 = 58;
export const SOL_IPV6 = 41;
export const IPV6_UNICAST_HOPS = 16;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_PMTUDISC_DO = 2;
export const IPV6_DONTFRAG = 62;
