import { SOCK_CLOEXEC, SOCK_RAW } from '../netlink/constants.ts';
import { raiseReceiveBuffer } from '../receive-buffer.ts';
import { bind, close, getsockopt, recvNow, send, socket } from '../syscall.ts';
import { AF_PACKET, PACKET_STATISTICS, SOCK_NONBLOCK, SOL_PACKET } from './constants.ts';
import { type ArpFrame, ETH_P_ARP, readArpFrame, writeArpFrame } from './packet.ts';

/** Some 1,300 frames, or 500 where the kernel lets nobody have more than net.core.rmem_max. */
const RECEIVE_BYTES = 1024 * 1024;

/** An ARP frame has 42 bytes and padding; more of another kind is not looked at. */
const FRAME_BYTES = 128;

export type Received = {
  readonly frames: readonly ArpFrame[];
  /** Nothing waited any more. */
  readonly drained: boolean;
};

/**
 * What passes as ARP on one link: sends frames as they are given, and hears what comes in from the wire, on a bridge
 * from any port, but nothing that this namespace sends itself. No call waits.
 */
export class ArpSocket implements Disposable {
  readonly #fd: number;
  readonly #buffer = new Uint8Array(FRAME_BYTES);

  /**
   * @param link index of a link in the namespace that the calling thread is in
   * @throws SyscallError ENODEV where there is none
   */
  constructor(link: number) {
    // Of no protocol until it is bound, or it would hear the other links in between.
    this.#fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    try {
      raiseReceiveBuffer(this.#fd, RECEIVE_BYTES);
      // struct sockaddr_ll
      const address = new Uint8Array(20);
      const view = new DataView(address.buffer);
      view.setUint16(0, AF_PACKET, true);
      view.setUint16(2, ETH_P_ARP);
      view.setInt32(4, link, true);
      bind(this.#fd, address, `listen to ARP on the link with index ${link}`);
    } catch (error) {
      close(this.#fd);
      throw error;
    }
  }

  /** @throws SyscallError such as ENETDOWN, ENXIO (the link is gone), EAGAIN (its queue is full) */
  send(frame: ArpFrame): void {
    send(this.#fd, writeArpFrame(frame));
  }

  /**
   * The frames that wait, oldest first; passed over is what is not ARP for IPv4.
   *
   * @param limit how many to look at
   * @throws SyscallError ENETDOWN, once, where the link went down or away
   */
  receive(limit: number): Received {
    const frames: ArpFrame[] = [];
    for (let looked = 0; looked < limit; looked++) {
      const bytes = this.#receive();
      if (bytes === undefined) return { frames, drained: true };
      const frame = readArpFrame(bytes);
      if (frame !== undefined) frames.push(frame);
    }
    return { frames, drained: false };
  }

  /** How many frames were lost to a full queue since the last call. */
  takeDrops(): number {
    // struct tpacket_stats: packets, drops; reading sets both to zero
    const statistics = new Uint8Array(8);
    getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, statistics);
    return new DataView(statistics.buffer).getUint32(4, true);
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }

  #receive(): Uint8Array | undefined {
    const length = recvNow(this.#fd, this.#buffer, 0);
    return length === undefined ? undefined : this.#buffer.subarray(0, length);
  }
}
