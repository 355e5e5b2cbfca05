import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Course,
  type Epoch,
  type Heard,
  nextCourse,
  type Phase,
  phaseReached,
  tunnelWayOf,
  wayOf,
  waysInUse,
} from './course.ts';
import type { Way } from './way.ts';

/*
 * Hosts that go through changes of the epoch in any order, each by its own steps and at its own time, with packets that are
 * lost, hosts that fall silent and come back, and changes that are taken back half-way.
 */

const ORDER: readonly Phase[] = ['accept', 'send', 'drop', 'done'];

class Host {
  epoch: Epoch;
  /** with each of the others */
  readonly courses = new Map<string, Course>();
  /** by which the others were last heard to send */
  readonly heard = new Map<string, Heard>();
  readonly proved = new Set<string>();
  /** the devices that it has; one that was made is kept until nobody needs it */
  readonly devices = new Set<Way>();
  isAlive = true;

  constructor(epoch: Epoch) {
    this.epoch = epoch;
    this.devices.add(tunnelWayOf(epoch));
  }

  takesIn(way: Way, from: string): boolean {
    return way === 'clear' ? this.courses.get(from)?.acceptsClear === true : this.devices.has(way);
  }

  /** As a daemon that starts anew: what the kernel has is all that it knows. */
  restart(): void {
    this.heard.clear();
    this.proved.clear();
  }
}

type Step =
  | { readonly do: 'wish'; readonly encrypts: boolean }
  | { readonly do: 'rotate' | 'conduct' }
  | { readonly do: 'learn' | 'restart' | 'silence' | 'wake'; readonly host: number }
  | { readonly do: 'probe' | 'step'; readonly host: number; readonly other: number };

const NAMES = ['h0', 'h1', 'h2'];

class World {
  epoch: Epoch = { number: 0, phase: 'done', encrypts: true, rotation: 0, whenDown: 'wait' };
  readonly hosts = NAMES.map(() => new Host(this.epoch));

  constructor() {
    for (const [index, host] of this.hosts.entries()) {
      for (const name of NAMES)
        if (name !== NAMES[index]) host.courses.set(name, { sends: 'even', acceptsClear: false });
    }
  }

  perform(step: Step): void {
    switch (step.do) {
      case 'wish':
        if (step.encrypts !== this.epoch.encrypts)
          this.epoch = { ...this.epoch, number: this.epoch.number + 1, phase: 'accept', encrypts: step.encrypts };
        break;
      case 'rotate':
        if (this.epoch.phase === 'done')
          this.epoch = {
            ...this.epoch,
            number: this.epoch.number + 1,
            phase: 'accept',
            rotation: this.epoch.rotation + 1,
          };
        break;
      case 'conduct':
        this.#conduct();
        break;
      case 'learn':
        this.#learn(this.#host(step.host));
        break;
      case 'restart':
        this.#host(step.host).restart();
        break;
      case 'silence':
      case 'wake':
        this.#host(step.host).isAlive = step.do === 'wake';
        break;
      case 'probe':
        this.#probe(step.host, step.other);
        break;
      case 'step':
        this.#step(step.host, step.other);
        break;
    }
  }

  #host(index: number): Host {
    const host = this.hosts[index];
    if (host === undefined) throw new Error('There are three');
    return host;
  }

  /** It hears of the epoch, and has what it needs for it at once: the devices, and clear taken in where that is the way. */
  #learn(host: Host): void {
    if (!host.isAlive) return;
    if (host.epoch.number !== this.epoch.number) host.proved.clear();
    host.epoch = this.epoch;
    host.devices.add(tunnelWayOf(this.epoch));
    for (const [name, course] of host.courses)
      host.courses.set(
        name,
        this.#next(host, name, course, () => false),
      );
    const needed = new Set<Way>([tunnelWayOf(host.epoch)]);
    for (const [name, { sends }] of host.courses) {
      needed.add(sends);
      const way = host.heard.get(name)?.way;
      if (way !== undefined) needed.add(way);
      else for (const any of host.devices) needed.add(any);
    }
    if (host.epoch.phase === 'done') for (const way of host.devices) if (!needed.has(way)) host.devices.delete(way);
  }

  /** A packet goes there and back by each way that both have: each hears how the other sends. */
  #probe(one: number, other: number): void {
    const [here, there] = [this.#host(one), this.#host(other)];
    const [name, far] = [NAMES[one] ?? '', NAMES[other] ?? ''];
    if (one === other || !here.isAlive || !there.isAlive) return;
    for (const way of [wayOf(here.epoch), here.courses.get(far)?.sends ?? 'even']) {
      if (!there.takesIn(way, name) || !here.takesIn(way, far)) continue;
      if (way !== 'clear' && !(here.devices.has(way) && there.devices.has(way))) continue;
      here.proved.add(`${far} ${way}`);
      here.heard.set(far, { way: there.courses.get(name)?.sends, epoch: there.epoch.number });
      there.heard.set(name, { way: here.courses.get(far)?.sends, epoch: here.epoch.number });
    }
  }

  #step(one: number, other: number): void {
    const host = this.#host(one);
    const name = NAMES[other] ?? '';
    const course = host.courses.get(name);
    if (course === undefined || !host.isAlive) return;
    host.courses.set(
      name,
      this.#next(host, name, course, (way) => host.proved.has(`${name} ${way}`)),
    );
  }

  #next(host: Host, name: string, course: Course, isProved: (way: Way) => boolean): Course {
    return nextCourse(course, host.epoch, {
      heard: host.heard.get(name),
      isSettled: true,
      isProved,
      isDead: () => false,
    });
  }

  #conduct(): void {
    const alive = this.hosts.filter(({ isAlive }) => isAlive);
    if (this.epoch.phase === 'done' || alive.length === 0) return;
    const isReached = alive.every((host) => {
      if (host.epoch.number !== this.epoch.number) return false;
      const reached = [...host.courses]
        .filter(([name]) => this.hosts[NAMES.indexOf(name)]?.isAlive === true)
        .map(([name, course]) => phaseReached(course, host.epoch, host.heard.get(name)));
      return reached.every((phase) => ORDER.indexOf(phase) >= ORDER.indexOf(this.epoch.phase));
    });
    if (isReached) this.epoch = { ...this.epoch, phase: ORDER[ORDER.indexOf(this.epoch.phase) + 1] ?? 'done' };
  }

  /** Until nothing changes any more. */
  settle(): void {
    for (let round = 0; round < 12; round++) {
      for (const [one] of NAMES.entries()) {
        this.perform({ do: 'learn', host: one });
        for (const [other] of NAMES.entries()) {
          if (one === other) continue;
          this.perform({ do: 'probe', host: one, other });
          this.perform({ do: 'step', host: one, other });
        }
      }
      this.perform({ do: 'conduct' });
    }
  }

  /** What one sends the other takes in. */
  lost(): string[] {
    return this.hosts.flatMap((host, one) =>
      [...host.courses].flatMap(([name, { sends }]) => {
        const there = this.#host(NAMES.indexOf(name));
        return there.takesIn(sends, NAMES[one] ?? '') ? [] : [`${NAMES[one]} to ${name} by ${sends}`];
      }),
    );
  }
}

const index = fc.integer({ min: 0, max: 2 });
const pair = fc.record({ do: fc.constantFrom('probe' as const, 'step' as const), host: index, other: index });
const alone = fc.record({ do: fc.constantFrom('learn' as const, 'learn' as const, 'restart' as const), host: index });
const life = fc.record({ do: fc.constantFrom('silence' as const, 'wake' as const, 'wake' as const), host: index });
const wish = fc.oneof(
  fc.record({ do: fc.constant('wish' as const), encrypts: fc.boolean() }),
  fc.record({ do: fc.constant('rotate' as const) }),
);

/** Most of what is to be done for a phase, in some order, and sometimes somebody who wants something else. */
const round: fc.Arbitrary<Step[]> = fc
  .tuple(
    fc.option(wish, { freq: 4, nil: undefined }),
    fc.option(life, { freq: 4, nil: undefined }),
    fc.array(alone, { minLength: 2, maxLength: 8, size: 'max' }),
    fc.array(pair, { minLength: 5, maxLength: 60, size: 'max' }),
    fc.boolean(),
  )
  .chain(([first, second, some, pairs, conducts]) =>
    fc
      .shuffledSubarray([...some, ...pairs], { minLength: some.length + pairs.length })
      .map((steps): Step[] => [
        ...[first, second].filter((one) => one !== undefined),
        ...steps,
        ...(conducts ? [{ do: 'conduct' as const }] : []),
      ]),
  );
const steps: fc.Arbitrary<Step[]> = fc
  .array(round, { minLength: 1, maxLength: 30, size: 'max' })
  .map((all) => all.flat());

describe('a change of the epoch', () => {
  it('loses nothing on the way, whoever is where', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const world = new World();
        for (const one of all) {
          world.perform(one);
          expect(world.lost()).toEqual([]);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('comes to its end, whatever was half done, and then nobody sends otherwise nor takes in what is refused', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), (all, encrypts) => {
        const world = new World();
        for (const one of all) world.perform(one);
        for (const [host] of NAMES.entries()) world.perform({ do: 'wake', host });
        world.perform({ do: 'wish', encrypts });
        world.settle();
        expect(world.epoch.phase).toBe('done');
        for (const host of world.hosts) {
          for (const course of host.courses.values())
            expect(course).toEqual({ sends: wayOf(world.epoch), acceptsClear: !encrypts });
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('what another host sends in clear', () => {
  const epoch = { number: 4, phase: 'drop', encrypts: true, rotation: 0, whenDown: 'wait' } as const;
  const course = { sends: 'even', acceptsClear: true } as const;
  const takes = (heard: Heard | undefined, isSettled = true): boolean =>
    nextCourse(course, epoch, { heard, isSettled, isProved: () => false, isDead: () => false }).acceptsClear;

  it('is taken in until it says that it sends none any more, and that for this epoch', () => {
    expect(takes(undefined)).toBe(true);
    expect(takes({ way: 'clear', epoch: 4 })).toBe(true);
    // one that knows of another may begin to, at any time
    expect(takes({ way: 'even', epoch: 3 })).toBe(true);
    expect(takes({ way: 'even', epoch: 5 })).toBe(true);
    expect(takes({ way: 'even', epoch: 4 })).toBe(false);
    // what it sent before may be under way
    expect(takes({ way: 'even', epoch: 4 }, false)).toBe(true);
  });
});

describe('packets to a host that no tunnel reaches', () => {
  const epoch = { number: 3, phase: 'done', encrypts: true, rotation: 0 } as const;
  const dead = {
    heard: { way: 'even', epoch: 3 },
    isSettled: true,
    isProved: (way: Way) => way === 'clear',
    isDead: (way: Way) => way === 'even',
  } as const;
  const course = { sends: 'even', acceptsClear: false } as const;

  it('wait, unless it is said that they go in clear', () => {
    expect(nextCourse(course, { ...epoch, whenDown: 'wait' }, dead)).toEqual(course);
    const away = nextCourse(course, { ...epoch, whenDown: 'clear' }, dead);
    expect(away).toEqual({ sends: 'clear', acceptsClear: true });
    const back = {
      heard: { way: 'clear', epoch: 3 },
      isSettled: true,
      isProved: (way: Way) => way === 'even',
      isDead: () => false,
    } as const;
    expect(nextCourse(away, { ...epoch, whenDown: 'clear' }, back)).toEqual({ sends: 'even', acceptsClear: true });
  });
});

it('asks a host by the ways that the two use, or are to', () => {
  const epoch = { number: 1, phase: 'send', encrypts: false, rotation: 2, whenDown: 'wait' } as const;
  const course = { sends: 'even', acceptsClear: true } as const;
  expect(waysInUse(course, epoch, { way: 'odd', epoch: 0 })).toEqual(new Set(['even', 'clear', 'odd']));
  expect(waysInUse(course, { ...epoch, encrypts: true }, undefined)).toEqual(new Set(['even']));
});
