import { beforeEach, describe, expect, it } from 'vitest';
import { formatIpv4, type Ipv4, parseIpv4 } from '../../addr/ipv4.ts';
import type { Leg, Way } from '../way.ts';
import { readPacket, SMALLEST } from './packet.ts';
import { Prober } from './prober.ts';

/* Hosts that ask each other over legs that carry packets of some size, or none, in either direction. */

const TIMING = { wait_ms: 1000, rest_ms: 5000, raise_ms: 60_000 };
const WHOLE = 1420;

class Side {
  readonly prober: Prober;
  readonly address: Ipv4;
  way: Way = 'even';
  epoch = 1;
  sent = 0;
  dueMs = 0;

  constructor(world: World, name: string, perSecond: number) {
    this.address = parseIpv4(`10.64.${world.sides.size}.0`);
    this.prober = new Prober({
      whole: WHOLE,
      timing: TIMING,
      perSecond,
      newNonce: () => ++world.nonce,
      send: (leg, to, bytes) => {
        this.sent++;
        world.carry(this, leg, to.address, bytes);
      },
      self: () => ({ epoch: this.epoch, way: this.way }),
      learned: (other) => {
        world.learned.push(`${name} of ${other}`);
        this.dueMs = 0;
      },
    });
  }
}

class World {
  readonly sides = new Map<string, Side>();
  readonly learned: string[] = [];
  nonce = 0n;
  nowMs = 0;
  /** bytes that pass from one to another by a leg */
  carries: (from: Side, leg: Leg, to: Side) => number = () => WHOLE;
  /** what passes of that */
  filter: (bytes: Uint8Array) => boolean = () => true;
  readonly #flying: { readonly atMs: number; readonly arrive: () => void }[] = [];

  add(name: string, perSecond = 50): Side {
    const side = new Side(this, name, perSecond);
    this.sides.set(name, side);
    for (const [other, there] of this.sides) {
      if (there === side) continue;
      side.prober.setPeer(other, there.address);
      there.prober.setPeer(name, side.address);
      side.prober.pathsTo(other)?.use(new Set(['even']));
      there.prober.pathsTo(name)?.use(new Set(['even']));
    }
    return side;
  }

  carry(from: Side, leg: Leg, to: Ipv4, bytes: Uint8Array): void {
    const there = [...this.sides.values()].find(({ address }) => address === to);
    if (there === undefined || bytes.length + 28 > this.carries(from, leg, there)) return;
    if (!this.filter(bytes)) return;
    const arrive = (): void => there.prober.hear(leg, from.address, bytes, this.nowMs);
    this.#flying.push({ atMs: this.nowMs + 1, arrive });
  }

  run(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; this.nowMs++) {
      for (const one of this.#flying.splice(0)) {
        if (one.atMs <= this.nowMs) one.arrive();
        else this.#flying.push(one);
      }
      for (const side of this.sides.values()) {
        if (this.nowMs >= side.dueMs) side.dueMs = this.nowMs + side.prober.step(this.nowMs);
      }
    }
  }
}

let world: World;

beforeEach(() => {
  world = new World();
});

describe('two hosts', () => {
  it('prove soon that all passes there and back, and tell how they send', () => {
    const [one, other] = [world.add('h1'), world.add('h2')];
    one.way = 'clear';
    one.epoch = 7;
    world.run(200);
    const [there, back] = [one.prober.pathsTo('h2'), other.prober.pathsTo('h1')];
    expect(there?.isProved('even', world.nowMs)).toBe(true);
    expect(back?.heard).toMatchObject({ way: 'clear', epoch: 7 });
    expect(there?.heard).toMatchObject({ way: 'even', epoch: 1 });
    expect(there?.pathBy('even')).toMatchObject({ size: WHOLE, roundTripMs: 2 });
    expect(there?.backBy('even')).toBe(WHOLE);
    expect(world.learned).toContain('h1 of h2');
  });

  it('find the size of each direction by itself, and prove what both carry', () => {
    const [one, other] = [world.add('h1'), world.add('h2')];
    world.carries = (from) => (from === one ? 1280 : 1400);
    world.run(60_000);
    const [there, back] = [one.prober.pathsTo('h2'), other.prober.pathsTo('h1')];
    expect(there?.pathBy('even')?.size).toBeGreaterThan(1271);
    expect(there?.pathBy('even')?.size).toBeLessThanOrEqual(1280);
    expect(back?.pathBy('even')?.size).toBeGreaterThan(1391);
    expect(there?.backBy('even')).toBe(back?.pathBy('even')?.size);
    expect(there?.isProved('even', world.nowMs)).toBe(true);
  });

  it('ask again soon where what was to prove a way was lost', () => {
    const [one] = [world.add('h1'), world.add('h2')];
    let lost = 0;
    // the first of each that is to be answered as large
    world.filter = (bytes) => readPacket(bytes)?.kind !== 'ask whole' || ++lost > 4;
    world.run(800);
    expect(lost).toBeGreaterThan(4);
    world.run(1200);
    expect(one.prober.pathsTo('h2')?.isProved('even', world.nowMs)).toBe(true);
    const { sent } = one;
    world.run(4000);
    expect(one.sent).toBeLessThan(sent + 10);
  });

  it('tell each other at once how they send, when they are told to hurry', () => {
    const [one, other] = [world.add('h1'), world.add('h2')];
    world.run(1000);
    one.way = 'clear';
    world.run(100);
    expect(other.prober.pathsTo('h1')?.heard?.way).toBe('even');
    one.prober.pathsTo('h2')?.hurry();
    one.dueMs = 0;
    world.run(10);
    expect(other.prober.pathsTo('h1')?.heard?.way).toBe('clear');
    // what it sent otherwise may be under way for a while
    expect(other.prober.pathsTo('h1')?.unsettledMs(world.nowMs)).toBeGreaterThan(0);
    world.run(300);
    expect(other.prober.pathsTo('h1')?.unsettledMs(world.nowMs)).toBe(0);
  });

  it('see that a way is dead, and that a proof is old', () => {
    const one = world.add('h1');
    world.add('h2');
    world.run(1000);
    world.carries = () => 0;
    world.run(9000);
    const paths = one.prober.pathsTo('h2');
    expect([paths?.isDead('even', world.nowMs), paths?.isProved('even', world.nowMs)]).toEqual([false, true]);
    world.run(20_000);
    expect([paths?.isDead('even', world.nowMs), paths?.isProved('even', world.nowMs)]).toEqual([true, false]);
    // of one that nobody has asked by nothing is known
    expect([paths?.isDead('direct', world.nowMs), paths?.isProved('direct', world.nowMs)]).toEqual([false, false]);
  });

  it('answer nobody else, and believe no answer that they have not asked for', () => {
    const one = world.add('h1');
    world.add('h2');
    const before = one.sent;
    const ask = new Uint8Array(SMALLEST - 28);
    one.prober.hear('even', parseIpv4('10.64.9.0'), ask, 0);
    one.prober.hear('even', parseIpv4('10.64.1.0'), ask, 0);
    expect(one.sent).toBe(before);
    expect(one.prober.pathsTo('h2')?.heard).toBeUndefined();
  });
});

describe('a host', () => {
  it('asks no more a second however many others there are, and each of them in turn', () => {
    const perSecond = 50;
    const one = world.add('h0', perSecond);
    const asked = new Map<string, number>();
    for (let index = 1; index <= 500; index++) {
      const name = `h${index}`;
      one.prober.setPeer(name, parseIpv4(`10.65.${index >> 8}.${index & 255}`));
      one.prober.pathsTo(name)?.use(new Set(['even']));
    }
    world.carry = (_from, _leg, to, bytes) => {
      expect(readPacket(bytes)?.kind).toBe('ask');
      asked.set(formatIpv4(to), (asked.get(formatIpv4(to)) ?? 0) + 1);
    };
    world.run(20_000);
    expect(one.sent).toBeLessThanOrEqual(perSecond * 21);
    expect(one.sent).toBeGreaterThan(perSecond * 18);
    expect(asked.size).toBe(500);
  });
});
