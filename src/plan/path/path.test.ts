import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LEAST, Path } from './path.ts';

const TIMING = { wait_ms: 1000, rest_ms: 5000, raise_ms: 60_000 };
const WHOLE = 1420;

/** A link that carries packets of some size, and none where that is 0. */
class Link {
  carries = WHOLE;
  nowMs = 0;
  readonly path = new Path(WHOLE, TIMING);
  readonly asked: number[] = [];
  #nonce = 0n;

  /** Lets time pass in small steps; an answer takes 3 ms. */
  run(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      const nonce = ++this.#nonce;
      const size = this.path.ask(this.nowMs, nonce);
      if (size !== undefined) {
        this.asked.push(size);
        if (size <= this.carries) {
          this.nowMs += 3;
          this.path.answer(this.nowMs, nonce);
          continue;
        }
      }
      this.nowMs += 50;
    }
  }
}

describe('a path', () => {
  it('that carries all is asked once in a while', () => {
    const link = new Link();
    link.run(60_000);
    expect(link.path).toMatchObject({ size: WHOLE, isWhole: true, roundTripMs: 3 });
    expect(new Set(link.asked)).toEqual(new Set([WHOLE]));
    expect(link.asked.length).toBeGreaterThan(10);
    expect(link.asked.length).toBeLessThan(14);
  });

  it('of any size is found to within eight bytes, and never believed larger', () => {
    fc.assert(
      fc.property(fc.integer({ min: LEAST, max: WHOLE - 1 }), (carries) => {
        const link = new Link();
        link.carries = carries;
        link.run(60_000);
        expect(link.path.size).toBeLessThanOrEqual(carries);
        expect(link.path.size).toBeGreaterThan(carries - 9);
        expect(link.path.isWhole).toBe(false);
      }),
    );
  });

  it('that becomes narrower and wider again is followed', () => {
    const link = new Link();
    link.run(10_000);
    link.carries = 1280;
    link.run(30_000);
    expect(link.path.size).toBeGreaterThan(1271);
    expect(link.path.size).toBeLessThanOrEqual(1280);
    // narrower once more
    link.carries = 900;
    link.run(60_000);
    expect(link.path.size).toBeGreaterThan(891);
    expect(link.path.size).toBeLessThanOrEqual(900);
    link.carries = WHOLE;
    link.run(70_000);
    expect(link.path.isWhole).toBe(true);
  });

  it('that carries nothing keeps the size that it had, and is asked without end', () => {
    const link = new Link();
    link.run(10_000);
    link.carries = 0;
    const { answeredMs } = link.path;
    const before = link.asked.length;
    link.run(600_000);
    expect(link.path).toMatchObject({ size: WHOLE, answeredMs });
    expect(link.asked.length).toBeGreaterThan(before + 100);
    expect(link.asked.length).toBeLessThan(before + 1000);
    link.carries = WHOLE;
    link.run(20_000);
    expect(link.path.answeredMs).toBeGreaterThan(600_000);
  });

  it('is whole again soon after it carried nothing, whatever was asked at that moment', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400 }), (steps) => {
        const link = new Link();
        link.run(10_000);
        link.carries = 0;
        link.run(steps * 50);
        link.carries = WHOLE;
        link.run(12_000);
        expect(link.path.isWhole).toBe(true);
      }),
      { numRuns: 401 },
    );
  });

  it('takes no answer that nobody waits for', () => {
    const path = new Path(WHOLE, TIMING);
    path.answer(0, 7n);
    expect(path.ask(0, 1n)).toBe(WHOLE);
    path.answer(1, 2n);
    expect(path.size).toBeUndefined();
    path.answer(1, 1n);
    path.answer(2, 1n);
    expect(path).toMatchObject({ size: WHOLE, roundTripMs: 1 });
  });

  it('is measured anew where another size is the whole one', () => {
    const link = new Link();
    link.run(1000);
    link.path.resize(1300);
    expect(link.path).toMatchObject({ size: 1300, isWhole: true });
    link.run(100);
    expect(link.asked.at(-1)).toBe(1300);
    link.path.resize(WHOLE);
    expect(link.path.isWhole).toBe(false);
    link.run(100);
    expect(link.path.isWhole).toBe(true);
  });

  it('is asked once more where something happened while an answer was waited for', () => {
    const path = new Path(WHOLE, TIMING);
    path.ask(0, 1n);
    path.hurry();
    expect(path.ask(1, 2n)).toBeUndefined();
    path.answer(2, 1n);
    expect(path.ask(2, 3n)).toBe(WHOLE);
    path.answer(3, 3n);
    expect(path.dueMs).toBe(3 + TIMING.rest_ms);
  });

  it('by which nobody listened before is asked as if for the first time', () => {
    const link = new Link();
    link.carries = 0;
    link.run(15_000);
    link.carries = WHOLE;
    link.path.restart();
    link.run(50);
    expect(link.path.isWhole).toBe(true);
    // what is known is kept
    link.path.restart();
    expect(link.path.isWhole).toBe(true);
    link.run(50);
    expect(link.asked.slice(-2)).toEqual([WHOLE, WHOLE]);
  });

  it('whose answers are known to be quick is not waited for as long as any', () => {
    const path = new Path(WHOLE, TIMING, 2);
    path.ask(0, 1n);
    expect(path.dueMs).toBe(250);
  });

  it('whose answers come later all at once is not taken for one that answers nothing', () => {
    const path = new Path(WHOLE, TIMING);
    let nonce = 0n;
    const flying: { readonly atMs: number; readonly nonce: bigint }[] = [];
    let answered = 0;
    for (let nowMs = 0; nowMs < 60_000; nowMs += 10) {
      for (const one of flying.splice(0)) {
        if (one.atMs > nowMs) flying.push(one);
        else if (path.answer(nowMs, one.nonce)) answered++;
      }
      // a queue has grown in the middle
      const delayMs = nowMs < 20_000 ? 1 : 400;
      if (nowMs === 20_000) answered = 0;
      if (path.ask(nowMs, ++nonce) !== undefined) flying.push({ atMs: nowMs + delayMs, nonce });
    }
    expect(answered).toBeGreaterThan(2);
    expect(path.isWhole).toBe(true);
  });
});
