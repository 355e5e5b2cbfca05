import { formatIpv4, type Ipv4, parseIpv4 } from '../src/addr/ipv4.ts';
import { formatMac, parseMac } from '../src/addr/mac.ts';

/*
 * Ethernet frames with an IPv4 packet inside, built with right checksums and read with all of them verified: over the
 * header (RFC 791), over UDP and TCP with their pseudo-header, over ICMP, and over the header that an ICMP error quotes.
 */

export type Frame = {
  readonly ether: { readonly from: string; readonly to: string };
  readonly from: string;
  readonly to: string;
  readonly body: Body;
};

export type Body =
  | { readonly kind: 'udp'; readonly from: number; readonly to: number; readonly text: string }
  | { readonly kind: 'syn'; readonly from: number; readonly to: number; readonly segment: number }
  | { readonly kind: 'icmp'; readonly type: number; readonly code: number; readonly quoted: Quoted };

/** The packet that an ICMP error is about: its header and the first eight bytes behind it, here of UDP. */
type Quoted = { readonly from: string; readonly to: string; readonly ports: readonly [number, number] };

const PROTOCOLS = { icmp: 1, syn: 6, udp: 17 } as const;
const ETHER = 14;
const IP = 20;

export function buildFrame({ ether, from, to, body }: Frame): Uint8Array {
  const payload = buildBody(body, from, to);
  return concat(
    parseMac(ether.to),
    parseMac(ether.from),
    [0x08, 0x00],
    ipHeader(from, to, body.kind, payload.length),
    payload,
  );
}

/** The same in two fragments (RFC 791), the first of which has `first` bytes of the payload, a multiple of eight. */
export function buildFragments(frame: Frame, first: number, identification: number): [Uint8Array, Uint8Array] {
  const whole = buildFrame(frame);
  const fragment = (offset: number, payload: Uint8Array, more: boolean): Uint8Array => {
    const bytes = concat(whole.subarray(0, ETHER + IP), payload);
    const view = new DataView(bytes.buffer);
    view.setUint16(ETHER + 2, IP + payload.length);
    view.setUint16(ETHER + 4, identification);
    view.setUint16(ETHER + 6, (more ? 0x2000 : 0) | (offset / 8));
    view.setUint16(ETHER + 10, 0);
    withChecksum(bytes.subarray(ETHER, ETHER + IP), 10, new Uint8Array());
    return bytes;
  };
  const payload = whole.subarray(ETHER + IP);
  return [fragment(0, payload.subarray(0, first), true), fragment(first, payload.subarray(first), false)];
}

export type Fragment = {
  readonly from: string;
  readonly to: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
};

/** @returns undefined where the frame holds no fragment of an IPv4 packet */
export function readFragment(bytes: Uint8Array): Fragment | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (!isPlainIpv4(view) || !isFragment(view)) return undefined;
  verify('IP header', bytes.subarray(ETHER, ETHER + IP));
  const offset = (view.getUint16(ETHER + 6) & 0x1fff) * 8;
  const payload = bytes.slice(ETHER + IP, ETHER + view.getUint16(ETHER + 2));
  return { from: ipAt(view, ETHER + 12), to: ipAt(view, ETHER + 16), offset, bytes: payload };
}

/** What UDP says in these fragments of one packet. @throws Error where a checksum is wrong */
export function reassemble(fragments: readonly Fragment[]): Body | undefined {
  const [first, ...rest] = fragments.toSorted((a, b) => a.offset - b.offset);
  if (first === undefined) return undefined;
  return readBody(PROTOCOLS.udp, concat(first.bytes, ...rest.map(({ bytes }) => bytes)), first.from, first.to);
}

/** Without options in its header: the kernel's own reports of IGMP have one. */
function isPlainIpv4(view: DataView): boolean {
  return view.byteLength >= ETHER + IP && view.getUint16(12) === 0x0800 && view.getUint8(ETHER) === 0x45;
}

/** More to come, or not from the start. */
function isFragment(view: DataView): boolean {
  return (view.getUint16(ETHER + 6) & 0x3fff) !== 0;
}

/** ARP for IPv4 over Ethernet (RFC 826), with the sender as given; `operation` is 1 for a request, 2 for a reply. */
export function buildArp(
  ether: { from: string; to: string },
  operation: 1 | 2,
  sender: { mac: string; ip: string },
  target: string,
): Uint8Array {
  const head = [0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, operation];
  const zeros = [0, 0, 0, 0, 0, 0];
  return concat(
    broadcastOr(ether.to),
    parseMac(ether.from),
    head,
    parseMac(sender.mac),
    bytesOf(sender.ip),
    zeros,
    bytesOf(target),
  );
}

export type Arp = { readonly operation: number; readonly sender: { readonly mac: string; readonly ip: string } };

/** @returns undefined where the frame holds no ARP */
export function readArp(bytes: Uint8Array): Arp | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < ETHER + 28 || view.getUint16(12) !== 0x0806) return undefined;
  return { operation: view.getUint16(20), sender: { mac: macAt(bytes, 22), ip: ipAt(view, 28) } };
}

/** An IPv6 packet with nothing in it (RFC 8200: version 6, next header 59), between two addresses of the link. */
export function buildIpv6(ether: { from: string; to: string }): Uint8Array {
  const address = (last: number): number[] => [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
  const header = [0x60, 0, 0, 0, 0, 0, 59, 64];
  return concat(parseMac(ether.to), parseMac(ether.from), [0x86, 0xdd], header, address(1), address(2));
}

/**
 * @returns undefined where the frame is not one that {@link buildFrame} could have built
 * @throws Error where a checksum is wrong
 */
export function readFrame(bytes: Uint8Array): Frame | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (!isPlainIpv4(view) || isFragment(view)) return undefined;
  verify('IP header', bytes.subarray(ETHER, ETHER + IP));
  const from = ipAt(view, ETHER + 12);
  const to = ipAt(view, ETHER + 16);
  const end = ETHER + view.getUint16(ETHER + 2);
  const payload = bytes.subarray(ETHER + IP, end);
  const body = readBody(view.getUint8(ETHER + 9), payload, from, to);
  if (body === undefined) return undefined;
  return { ether: { from: macAt(bytes, 6), to: macAt(bytes, 0) }, from, to, body };
}

function buildBody(body: Body, from: string, to: string): Uint8Array {
  switch (body.kind) {
    case 'udp': {
      const text = Buffer.from(body.text);
      const datagram = concat(u16(body.from), u16(body.to), u16(8 + text.length), [0, 0], text);
      return withChecksum(datagram, 6, pseudoHeader(from, to, PROTOCOLS.udp, datagram.length));
    }
    case 'syn': {
      const segment = concat(
        u16(body.from),
        u16(body.to),
        new Uint8Array(8),
        [0x60, 0x02],
        u16(65_535),
        [0, 0, 0, 0],
        [2, 4],
        u16(body.segment),
      );
      return withChecksum(segment, 16, pseudoHeader(from, to, PROTOCOLS.syn, segment.length));
    }
    case 'icmp': {
      const { quoted } = body;
      const inner = concat(
        ipHeader(quoted.from, quoted.to, 'udp', 8),
        u16(quoted.ports[0]),
        u16(quoted.ports[1]),
        [0, 8, 0, 0],
      );
      return withChecksum(concat([body.type, body.code, 0, 0, 0, 0, 0, 0], inner), 2, new Uint8Array());
    }
  }
}

function readBody(protocol: number, payload: Uint8Array, from: string, to: string): Body | undefined {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  switch (protocol) {
    case PROTOCOLS.udp:
      verify('UDP', concat(pseudoHeader(from, to, protocol, payload.length), payload));
      return {
        kind: 'udp',
        from: view.getUint16(0),
        to: view.getUint16(2),
        text: Buffer.from(payload.subarray(8)).toString(),
      };
    case PROTOCOLS.syn:
      verify('TCP', concat(pseudoHeader(from, to, protocol, payload.length), payload));
      if (view.getUint8(13) !== 0x02 || view.getUint8(20) !== 2) return undefined;
      return { kind: 'syn', from: view.getUint16(0), to: view.getUint16(2), segment: view.getUint16(22) };
    case PROTOCOLS.icmp: {
      verify('ICMP', payload);
      if (payload.length < 8 + IP + 8) return undefined;
      verify('quoted IP header', payload.subarray(8, 8 + IP));
      const quoted = {
        from: ipAt(view, 20),
        to: ipAt(view, 24),
        ports: [view.getUint16(28), view.getUint16(30)] as const,
      };
      return { kind: 'icmp', type: view.getUint8(0), code: view.getUint8(1), quoted };
    }
    default:
      return undefined;
  }
}

function ipHeader(from: string, to: string, kind: Body['kind'], payload: number): Uint8Array {
  const header = concat(
    [0x45, 0],
    u16(IP + payload),
    [0, 1, 0, 0, 64, PROTOCOLS[kind], 0, 0],
    bytesOf(from),
    bytesOf(to),
  );
  return withChecksum(header, 10, new Uint8Array());
}

function pseudoHeader(from: string, to: string, protocol: number, length: number): Uint8Array {
  return concat(bytesOf(from), bytesOf(to), [0, protocol], u16(length));
}

function withChecksum(bytes: Uint8Array, at: number, before: Uint8Array): Uint8Array {
  new DataView(bytes.buffer, bytes.byteOffset).setUint16(at, checksum(concat(before, bytes)));
  return bytes;
}

function verify(what: string, bytes: Uint8Array): void {
  if (checksum(bytes) !== 0) throw new Error(`Wrong checksum of ${what}`);
}

/** RFC 1071 */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function broadcastOr(mac: string): Uint8Array {
  return mac === 'ff:ff:ff:ff:ff:ff' ? new Uint8Array(6).fill(255) : parseMac(mac);
}

function macAt(bytes: Uint8Array, at: number): string {
  return formatMac(bytes.subarray(at, at + 6) as Parameters<typeof formatMac>[0]);
}

function ipAt(view: DataView, at: number): string {
  return formatIpv4(view.getUint32(at) as Ipv4);
}

function bytesOf(address: string): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, parseIpv4(address));
  return bytes;
}

function u16(value: number): number[] {
  return [value >>> 8, value & 255];
}

function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
