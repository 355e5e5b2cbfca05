import { NLA_HDRLEN, NLMSG_HDRLEN } from './constants.ts';

const encoder = new TextEncoder();

/**
 * Writes netlink messages one after the other into one buffer, as a batch is sent. Lengths are patched when a message
 * or a nest ends, so nothing is copied twice. All integers are in host byte order (little-endian on every platform
 * that Node's Linux builds for), except where a method says otherwise.
 */
export class MessageWriter {
  #bytes = new Uint8Array(4096);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  #start = 0;

  /** The messages written so far; valid until the next write. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** bytes that it can hold as it is; it grows with what is written */
  get capacity(): number {
    return this.#bytes.length;
  }

  clear(): void {
    this.#length = 0;
  }

  /** Opens a message: struct nlmsghdr, with its length to be patched by {@link end}. */
  begin(type: number, flags: number, sequence: number): this {
    this.#start = this.#length;
    this.u32(0).u16(type).u16(flags).u32(sequence).u32(0);
    return this;
  }

  end(): this {
    this.#view.setUint32(this.#start, this.#length - this.#start, true);
    return this;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  u32be(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, false);
    return this;
  }

  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  attr(type: number, payload: Uint8Array): this {
    this.u16(NLA_HDRLEN + payload.length)
      .u16(type)
      .raw(payload);
    return this.#pad();
  }

  attrU8(type: number, value: number): this {
    this.u16(NLA_HDRLEN + 1)
      .u16(type)
      .u8(value);
    return this.#pad();
  }

  attrU16(type: number, value: number): this {
    this.u16(NLA_HDRLEN + 2)
      .u16(type)
      .u16(value);
    return this.#pad();
  }

  attrU32(type: number, value: number): this {
    return this.u16(NLA_HDRLEN + 4)
      .u16(type)
      .u32(value);
  }

  /** An IPv4 address, or another integer in network order. */
  attrU32be(type: number, value: number): this {
    return this.u16(NLA_HDRLEN + 4)
      .u16(type)
      .u32be(value);
  }

  attrU16be(type: number, value: number): this {
    this.u16(NLA_HDRLEN + 2)
      .u16(type)
      .u8(value >>> 8)
      .u8(value & 255);
    return this.#pad();
  }

  /** An integer up to 2^53 in network order. */
  attrU64be(type: number, value: number): this {
    return this.u16(NLA_HDRLEN + 8)
      .u16(type)
      .u32be(Math.floor(value / 2 ** 32))
      .u32be(value % 2 ** 32);
  }

  /** A string with its closing zero, as rtnetlink wants names. */
  attrString(type: number, text: string): this {
    if (!isAscii(text)) return this.attr(type, encoder.encode(`${text}\0`));
    this.u16(NLA_HDRLEN + text.length + 1).u16(type);
    const at = this.#grow(text.length + 1);
    for (let index = 0; index < text.length; index++) this.#bytes[at + index] = text.charCodeAt(index);
    this.#bytes[at + text.length] = 0;
    return this.#pad();
  }

  nest(type: number, body: (writer: this) => void): this {
    const at = this.#length;
    this.u16(0).u16(type);
    body(this);
    this.#view.setUint16(at, this.#length - at, true);
    return this.#pad();
  }

  #pad(): this {
    while (this.#length % 4 !== 0) this.u8(0);
    return this;
  }

  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

/** Names are, and a call of the encoder costs more than the copying. */
function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 127) return false;
  return true;
}

/** One message as it was received; `body` is what follows struct nlmsghdr and views the receive buffer. */
export type Message = {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Uint8Array;
};

/** Splits a datagram into its messages. @throws RangeError where a length is not what the bytes hold */
export function* readMessages(datagram: Uint8Array): Generator<Message> {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length);
  for (let at = 0; at < datagram.length; ) {
    const rest = datagram.length - at;
    if (rest < NLMSG_HDRLEN)
      throw new RangeError(`Cannot read a netlink message: ${rest} bytes are left, a header has 16`);
    const length = view.getUint32(at, true);
    if (length < NLMSG_HDRLEN || length > rest) {
      throw new RangeError(`Cannot read a netlink message: it claims ${length} bytes, ${rest} are left`);
    }
    yield {
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      body: datagram.subarray(at + NLMSG_HDRLEN, at + length),
    };
    at += (length + 3) & ~3;
  }
}
