import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIp } from '../../addr/ip.ts';
import { PeerSize } from './peer-size.ts';
import type { Whom } from './whom.ts';

const WHOLE = 1420;
const HOST: Whom = { address: parseIp('10.9.0.1'), isNext: false };
const OTHER: Whom = { address: parseIp('10.9.0.9'), isNext: false };
const NEXT: Whom = { address: parseIp('192.0.2.1'), isNext: true };

/** A peer behind which some answer, by a way that carries packets of some size. */
class Behind {
  carries = WHOLE;
  nowMs = 0;
  who: readonly Whom[];
  asked = 0;
  readonly peer: PeerSize;
  #nonce = 0n;

  constructor(who: readonly Whom[], all: readonly Whom[] = [HOST, OTHER, NEXT]) {
    this.who = who;
    this.peer = new PeerSize(WHOLE, all, () => ++this.#nonce);
  }

  run(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; this.nowMs += 20) {
      for (const { whom, nonce, size } of this.peer.questions(this.nowMs)) {
        this.asked++;
        if (size > this.carries || !this.who.includes(whom)) continue;
        this.peer.answer({ nonce, kind: whom.isNext ? 'short' : 'whole' }, this.nowMs + 5);
      }
    }
  }
}

describe('the size of a peer', () => {
  it('is whole where all passes, and costs little', () => {
    const behind = new Behind([HOST]);
    behind.run(120_000);
    expect(behind.peer.size).toBe(WHOLE);
    expect(behind.asked).toBeLessThan(20);
  });

  it('is found where less passes, and followed when that changes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 600, max: WHOLE - 1 }), (carries) => {
        const behind = new Behind([HOST]);
        behind.run(30_000);
        behind.carries = carries;
        behind.run(60_000);
        expect(behind.peer.size).toBeLessThanOrEqual(carries);
        expect(behind.peer.size).toBeGreaterThan(carries - 9);
        behind.carries = WHOLE;
        behind.run(90_000);
        expect(behind.peer.size).toBe(WHOLE);
      }),
      { numRuns: 30 },
    );
  });

  it('is not known where nobody answers, who is asked seldom', () => {
    const behind = new Behind([]);
    behind.run(600_000);
    expect(behind.peer.size).toBeUndefined();
    expect(behind.asked).toBeLessThan(50);
  });

  it('is asked of who sends all of it back rather than of who says how far it came', () => {
    const behind = new Behind([NEXT, OTHER]);
    behind.run(10_000);
    expect(behind.peer.target).toBe(OTHER);
    const alone = new Behind([NEXT]);
    alone.run(10_000);
    expect([alone.peer.target, alone.peer.size]).toEqual([NEXT, WHOLE]);
  });

  it('is asked of another where the one does not answer any more', () => {
    const behind = new Behind([HOST]);
    behind.run(10_000);
    behind.who = [OTHER];
    behind.run(200_000);
    expect(behind.peer.target).toBe(OTHER);
    expect(behind.peer.size).toBe(WHOLE);
  });

  it('is asked at once where packets go another way', () => {
    const behind = new Behind([HOST]);
    behind.run(10_020);
    behind.asked = 0;
    behind.peer.hurry();
    behind.run(20);
    expect(behind.asked).toBe(1);
  });
});
