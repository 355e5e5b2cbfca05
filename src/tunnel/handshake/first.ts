import { statSync } from 'node:fs';
import { CulvertError } from '../../errors.ts';
import type { SeenPeer } from '../../plan/wireguard/device.ts';
import type { TunnelDevice } from '../device/device.ts';
import type { Resolved } from '../endpoint/resolve.ts';
import { AnswerWatch } from './answers.ts';
import type { ClockFacts } from './clock.ts';
import type { HandshakeTimes } from './times.ts';
import { whatWasSeen } from './trouble.ts';
import { untilHandshake } from './wait.ts';

type FirstParts = {
  readonly device: TunnelDevice;
  readonly resolved: Resolved;
  /** of encrypted packets; 0 for none */
  readonly fwMark: number;
  readonly times: HandshakeTimes;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

/** The first handshake of a device, and all that comes from its endpoints from before that is begun. */
export class FirstHandshake implements Disposable {
  readonly #parts: FirstParts;
  readonly #answers: AnswerWatch;

  /** The device must not know of its peers yet. */
  constructor(parts: FirstParts) {
    this.#parts = parts;
    this.#answers = new AnswerWatch([...parts.resolved.endpoints.values()], parts.fwMark);
  }

  /** @throws CulvertError with what was seen where there is none in time; `aborted` */
  async wait(): Promise<SeenPeer> {
    const { device, resolved, fwMark, timeoutMs, signal } = this.#parts;
    const { name } = device.link;
    const peer = await untilHandshake(() => device.read(), { sinceMs: 0, timeoutMs, signal });
    if (peer !== undefined) return peer;
    if (signal.aborted) throw new CulvertError('aborted', `Cannot connect ${name}: it was called off`);
    const evidence = { resolved, fwMark, heard: this.#answers.heard(), clock: this.#clock() };
    const seen = await whatWasSeen(device.read(), evidence);
    throw new CulvertError(seen.code, `Cannot connect ${name}: no handshake in ${timeoutMs / 1000} s: ${seen.text}`);
  }

  [Symbol.dispose](): void {
    this.#answers[Symbol.dispose]();
  }

  #clock(): ClockFacts {
    const { resolved, times } = this.#parts;
    const last = [...resolved.endpoints.keys()].map((key) => [key, times.lastWith(key) ?? 0] as const);
    return { nowMs: Date.now(), lastMs: new Map(last), madeMs: statSync(import.meta.filename).mtimeMs };
  }
}
