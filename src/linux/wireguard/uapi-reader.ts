import type { SeenDevice, SeenPeer } from '../../plan/wireguard/device.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { readDevice } from './uapi.ts';

/** The name of a peer's first line, and the digits of its key that follow. */
const NAME = Buffer.from('public_key=');
const DIGITS = 64;

const AFTER_LINE = Buffer.concat([Buffer.from('\n'), NAME]);

/** A peer, and the lines that told of it, in which answer at the last. */
type Told = { readonly lines: Buffer; readonly peer: SeenPeer; answer: number };

/**
 * Reads what a device answers again and again, while it still answers. Of five thousand peers nearly all are told of in
 * the words of the last time, in whatever order: their lines are compared, and not read.
 */
export class DeviceReader {
  /** by the digits of the key */
  readonly #told = new Map<string, Told>();
  #answer = 0;
  #peers = new Map<Key, SeenPeer>();
  /** where the lines of its first peer begin, once that is heard */
  #own: number | undefined;
  /** how far it is read */
  #at = 0;

  /** Begins with another answer, whether or not the last came to its end. */
  begin(): void {
    this.#answer++;
    this.#peers = new Map();
    this.#own = undefined;
    this.#at = 0;
  }

  /**
   * @param soFar of the answer, from its beginning: what was there before is the same
   * @throws RangeError where it is not as the interface says
   */
  hear(soFar: Buffer): void {
    if (this.#own === undefined) {
      const isPeer = soFar.length > NAME.length && NAME.equals(soFar.subarray(0, NAME.length));
      const first = isPeer ? 0 : nextPeer(soFar, 0);
      if (first === undefined) return;
      this.#own = this.#at = first;
    }
    // one whose lines are not followed by another may have more of them
    for (let end = nextPeer(soFar, this.#at); end !== undefined; end = nextPeer(soFar, this.#at)) {
      this.#take(soFar, end);
    }
  }

  /** See {@link readDevice}. @throws RangeError where it is not as the interface says */
  end(answer: Buffer): SeenDevice {
    this.hear(answer);
    if (this.#own !== undefined && this.#at < answer.length) this.#take(answer, answer.length);
    if (this.#told.size > this.#peers.size) this.#forget();
    return { ...readDevice(answer.toString('latin1', 0, this.#own)), peers: this.#peers };
  }

  /** The peer whose lines end there. */
  #take(answer: Buffer, end: number): void {
    const at = this.#at;
    const digits = answer.toString('latin1', at + NAME.length, at + NAME.length + DIGITS);
    const former = this.#told.get(digits);
    if (former !== undefined && answer.compare(former.lines, 0, former.lines.length, at, end) === 0) {
      former.answer = this.#answer;
      this.#peers.set(former.peer.publicKey, former.peer);
    } else {
      const peer = readPeer(answer.toString('latin1', at, end));
      // the buffer is that of the next answer
      this.#told.set(digits, { lines: Buffer.from(answer.subarray(at, end)), peer, answer: this.#answer });
      this.#peers.set(peer.publicKey, peer);
    }
    this.#at = end;
  }

  #forget(): void {
    for (const [digits, { answer }] of this.#told) if (answer !== this.#answer) this.#told.delete(digits);
  }
}

/** Where the lines of the peer after this one begin. */
function nextPeer(answer: Buffer, after: number): number | undefined {
  const found = answer.indexOf(AFTER_LINE, after);
  return found < 0 ? undefined : found + 1;
}

function readPeer(lines: string): SeenPeer {
  const [peer] = readDevice(lines).peers.values();
  if (peer === undefined) throw new RangeError(`Cannot read a peer of a WireGuard in ${lines.length} bytes`);
  return peer;
}
