import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { HandClock } from '../../../lab/hand-clock.ts';
import { formatPrefix, parsePrefix } from '../../addr/prefix.ts';
import { EmbeddedRegistry } from '../embedded/registry.ts';
import type { JoinRequest } from '../join-request.ts';
import { Member, type Standing } from '../member.ts';
import type { OwnSession } from '../session.ts';

export const TIMING = { alive_ms: 10_000, hold_ms: 600_000 };
/** Of a hold’s lease, beyond the time in which the host is alive: it is renewed ten times in a hold. */
export const HOLD_MS = TIMING.hold_ms * 1.1;

/** A range of two subnets. */
export const TWO = { range: parsePrefix('10.64.0.0/19'), unit: 20 };

type Options = Partial<JoinRequest> & { readonly changed?: (standing: Standing) => void };

/** Members of a cluster whose registry is a file, by a clock that is set by hand. */
export class Members implements AsyncDisposable {
  readonly #folder = mkdtempSync(joinPath(tmpdir(), 'culvert-member-'));
  readonly clock = new HandClock();
  readonly registry = new EmbeddedRegistry(joinPath(this.#folder, 'registry.sqlite'), this.clock);
  #running: Member[] = [];

  async join(name: string, { changed = () => undefined, ...request }: Options = {}): Promise<Member> {
    const member = await Member.join({
      leased: () => undefined,
      registry: this.registry,
      request: {
        name,
        identity: randomUUID(),
        session: newSession(),
        version: '1',
        mtu: 1420,
        published: { name },
        ...request,
      },
      timing: TIMING,
      nowMs: () => this.clock.monotonicMs(),
      changed,
    });
    this.#running.push(member);
    return member;
  }

  /** As a host that is killed: it says nothing any more. Its timer would be due when the test is long over. */
  forget(member: Member): void {
    this.#running = this.#running.filter((one) => one !== member);
  }

  /** Those that run are heard of. */
  async beat(): Promise<void> {
    await Promise.all(this.#running.map((member) => member.publish({})));
  }

  async keys(prefix: string): Promise<string[]> {
    const { entries } = await this.registry.list(prefix);
    return entries.map(({ key }) => key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running.map((member) => member.stop({ keepsSubnet: false }).catch(() => undefined)));
    await this.registry[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true });
  }
}

/** @param place of a run folder, another one where absent */
export function newSession(place: string = randomUUID()): OwnSession {
  return { id: randomUUID(), place };
}

export function subnetOf(member: Member): string {
  return formatPrefix(member.membership.host.subnet);
}
