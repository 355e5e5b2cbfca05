import type { LabNamespace } from '../../../../lab/namespace.ts';
import { formatIp, type Ip, ipBytes, isIpv6, parseIp } from '../../../addr/ip.ts';
import { formatIpv4, type Ipv4 } from '../../../addr/ipv4.ts';
import { formatIpv6, ipv6Of } from '../../../addr/ipv6.ts';
import { bind, close, connect, SyscallError, send, setsockopt, socket } from '../../../linux/syscall.ts';

/* Packets of every kind from a namespace, and what a wire shows of them. */

/** linux/socket.h, linux/net.h, asm-generic/socket.h, linux/in.h, linux/in6.h */
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK_CLOEXEC = 0o2004000;
const SOL_SOCKET = 1;
const SO_BROADCAST = 6;
const SO_MARK = 36;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;

export type Packet = {
  readonly kind: 'udp' | 'tcp' | 'echo' | 'neighbour';
  readonly to: string;
  /** of UDP and TCP */
  readonly port?: number;
  readonly fromPort?: number;
  readonly mark?: number;
  /** index of the link, for an address that is of one */
  readonly link?: number;
  /** of `neighbour`, a solicitation; 255 where absent */
  readonly hops?: number;
};

const PROTOCOLS = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

/** @returns `sent`, or what stopped it, such as EPERM */
export function transmit(namespace: LabNamespace, packet: Packet): string {
  const to = parseIp(packet.to);
  const fd = namespace.within(() => socket(isIpv6(to) ? AF_INET6 : AF_INET, ...typeOf(packet, to)));
  try {
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (packet.mark !== undefined) setsockopt(fd, SOL_SOCKET, SO_MARK, packet.mark);
    if (packet.kind === 'neighbour') setsockopt(fd, SOL_IPV6, IPV6_UNICAST_HOPS, packet.hops ?? 255);
    if (packet.fromPort !== undefined)
      bind(fd, socketAddressOf(parseIp(isIpv6(to) ? '::' : '0.0.0.0'), packet.fromPort));
    connect(fd, socketAddressOf(to, packet.port ?? 0, packet.link), 'connect');
    send(fd, bodyOf(packet, to));
    return 'sent';
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return error.errnoName === 'EINPROGRESS' ? 'sent' : error.errnoName;
  } finally {
    close(fd);
  }
}

/** As {@link readPacket} says it where it passes. */
export function packetText({ kind, to, port }: Packet): string {
  switch (kind) {
    case 'echo':
      return to.includes(':') ? `icmpv6 128 ${to}` : `icmp 8 ${to}`;
    case 'neighbour':
      return `icmpv6 135 ${to}`;
    default:
      return `${kind} ${port} ${to}`;
  }
}

/** What an Ethernet frame with IP in it is: protocol, port or type, destination; undefined of other frames. */
export function readPacket(bytes: Uint8Array): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 34) return undefined;
  const type = view.getUint16(12);
  if (type === 0x0800) return transportText(view, view.getUint8(23), 34, formatIpv4(view.getUint32(30) as Ipv4));
  if (type === 0x86dd) return transportText(view, view.getUint8(20), 54, formatIpv6(ipv6Of(bytes.slice(38, 54))));
  return undefined;
}

function transportText(view: DataView, protocol: number, at: number, to: string): string {
  switch (protocol) {
    case PROTOCOLS.udp:
      return `udp ${view.getUint16(at + 2)} ${to}`;
    case PROTOCOLS.tcp:
      return `tcp ${view.getUint16(at + 2)} ${to}`;
    case PROTOCOLS.icmp:
      return `icmp ${view.getUint8(at)} ${to}`;
    case PROTOCOLS.icmpv6:
      return `icmpv6 ${view.getUint8(at)} ${to}`;
    // hop-by-hop options (RFC 8200), as reports of multicast listeners have
    case 0:
      return transportText(view, view.getUint8(at), at + 8 * (1 + view.getUint8(at + 1)), to);
    default:
      return `protocol ${protocol} ${to}`;
  }
}

/** struct sockaddr_in and struct sockaddr_in6 */
export function socketAddressOf(address: Ip, port: number, link = 0): Uint8Array {
  const head = [isIpv6(address) ? AF_INET6 : AF_INET, 0, port >>> 8, port & 255];
  const bytes = ipBytes(address);
  return isIpv6(address)
    ? Uint8Array.of(...head, 0, 0, 0, 0, ...bytes, link, 0, 0, 0)
    : Uint8Array.of(...head, ...bytes, ...new Uint8Array(8));
}

/** A socket for datagrams of a namespace, bound to a port of all its addresses; close it. */
export function openDatagrams(namespace: LabNamespace, address: string, port: number, mark = 0): number {
  const own = parseIp(address);
  const fd = namespace.within(() => socket(isIpv6(own) ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK_CLOEXEC, 0));
  if (mark !== 0) setsockopt(fd, SOL_SOCKET, SO_MARK, mark);
  bind(fd, socketAddressOf(own, port), `bind to ${formatIp(own)}`);
  return fd;
}

function typeOf({ kind }: Packet, to: Ip): [type: number, protocol: number] {
  if (kind === 'udp') return [SOCK_DGRAM | SOCK_NONBLOCK_CLOEXEC, 0];
  if (kind === 'tcp') return [SOCK_STREAM | SOCK_NONBLOCK_CLOEXEC, 0];
  return [SOCK_RAW | SOCK_NONBLOCK_CLOEXEC, isIpv6(to) ? PROTOCOLS.icmpv6 : PROTOCOLS.icmp];
}

function bodyOf({ kind }: Packet, to: Ip): Uint8Array {
  switch (kind) {
    case 'echo':
      // of ICMPv6 the kernel makes the checksum; of ICMP it is the complement of the one word that is not zero
      return Uint8Array.of(isIpv6(to) ? 128 : 8, 0, ...(isIpv6(to) ? [0, 0] : [0xf7, 0xff]), 0, 0, 0, 0);
    case 'neighbour':
      return Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0, ...ipBytes(to));
    default:
      return Uint8Array.of(1);
  }
}
