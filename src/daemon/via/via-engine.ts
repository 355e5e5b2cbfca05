import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../../errors.ts';
import type { SandboxId, Slot } from '../../ipam/lease.ts';
import type { Sandbox } from '../../sandbox/sandbox.ts';
import type { CreateRequest, CulvertEvent, Engine, SandboxChange, Status } from '../engine.ts';
import { Listeners } from '../listeners.ts';
import { ProblemNews } from '../problem-news.ts';
import { ViaTunnels } from './via-tunnels.ts';
import { readViaFile, type Wish, wishOf } from './wish.ts';

export type ViaOptions = {
  readonly runDir: string;
  readonly stateDir: string;
  /** folder of the files of tunnels */
  readonly tunnels: string;
  readonly report: (error: unknown) => void;
};

/** An engine whose sandboxes may leave by tunnels: one that does is there when its tunnel is. */
export class ViaEngine implements Engine {
  readonly inner: Engine;
  readonly #options: ViaOptions;
  readonly #tunnels: ViaTunnels;
  readonly #runFolder: string;
  readonly #users = new Map<SandboxId, Omit<Wish, 'serial'>>();
  readonly #listeners = new Listeners();
  readonly #news: ProblemNews;
  readonly #creating = new Set<Promise<Sandbox[]>>();
  /** Removed while there are creations: who made one of them may hear of it later than who removed it. */
  readonly #gone = new Set<string>();
  #isClosing = false;

  constructor(inner: Engine, options: ViaOptions) {
    const { runDir, stateDir, tunnels: files, report } = options;
    this.inner = inner;
    this.#options = options;
    this.#runFolder = join(runDir, 'via');
    this.#tunnels = new ViaTunnels({
      files,
      pins: join(runDir, 'netns'),
      runFolder: this.#runFolder,
      stateFolder: join(stateDir, 'via'),
      changed: (wish, now) => this.#say(wish, now),
      lost: () => this.#news.look(),
      report,
    });
    this.#news = new ProblemNews(
      () => this.#tunnels.problems(),
      (event) => this.#listeners.publish(event),
    );
    inner.subscribe((event) => this.#listeners.publish(event));
  }

  /** Takes over what an earlier run left: when this returns it is on its way. */
  async start(): Promise<void> {
    for (const sandbox of await this.inner.list()) {
      const wish = wishOf(sandbox);
      if (wish !== undefined) this.#users.set(sandbox.id, wish);
    }
    if (this.#users.size > 0 || existsSync(this.#runFolder)) this.#want();
  }

  create(requests: readonly CreateRequest[]): ReturnType<Engine['create']> {
    const creating = this.#create(requests);
    this.#creating.add(creating);
    const done = (): void => {
      this.#creating.delete(creating);
      if (this.#creating.size === 0) this.#gone.clear();
    };
    creating.then(done, done);
    return creating;
  }

  async #create(requests: readonly CreateRequest[]): ReturnType<Engine['create']> {
    const tunnels = new Set(requests.flatMap(({ specification }) => specification.via?.tunnel ?? []));
    if (tunnels.size === 0) return this.inner.create(requests);
    for (const tunnel of tunnels) readViaFile(this.#options.tunnels, tunnel);
    // asked in one breath, so that nobody comes in between
    const asked = Promise.all(requests.map(async ({ id }) => (id === undefined ? undefined : this.#inspect(id))));
    const [former, sandboxes] = await Promise.all([asked, this.inner.create(requests)]);
    const there = sandboxes.filter((sandbox) => !this.#gone.has(leaseText(sandbox)));
    const wishes = there.flatMap((sandbox) => {
      const wish = wishOf(sandbox);
      if (wish !== undefined) this.#users.set(sandbox.id, wish);
      return wish ?? [];
    });
    this.#want();
    try {
      if (this.#isClosing) throw new CulvertError('via_down', 'the daemon stops');
      if (there.length < sandboxes.length) throw new CulvertError('via_down', 'it was removed');
      await Promise.all(wishes.map(({ number }) => this.#tunnels.connected(number)));
    } catch (cause) {
      await this.#giveUp(sandboxes.filter((_, index) => former[index] === undefined));
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CulvertError('via_down', `Cannot leave by tunnel ${[...tunnels].join(', ')}: ${why}`, { cause });
    }
    return sandboxes;
  }

  async #inspect(id: SandboxId): Promise<Sandbox | undefined> {
    try {
      return await this.inner.inspect(id);
    } catch (error) {
      if (error instanceof CulvertError && error.code === 'sandbox_unknown') return undefined;
      throw error;
    }
  }

  /**
   * Of a creation that failed; who else removes one of them meanwhile has done the same, and may have made another one of
   * its name.
   */
  async #giveUp(sandboxes: readonly Sandbox[]): Promise<void> {
    for (const { id, slot, generation } of sandboxes) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one that is gone keeps no other
        const now = await this.#inspect(id);
        // oxlint-disable-next-line no-await-in-loop -- likewise
        if (now?.slot === slot && now.generation === generation) await this.remove([id]);
      } catch (error) {
        if (!(error instanceof CulvertError && error.code === 'sandbox_unknown')) this.#options.report(error);
      }
    }
  }

  update(id: SandboxId, change: SandboxChange): ReturnType<Engine['update']> {
    return this.inner.update(id, change);
  }

  async remove(ids: readonly SandboxId[]): ReturnType<Engine['remove']> {
    const removed = await this.inner.remove(ids);
    if (this.#creating.size > 0) for (const lease of removed) this.#gone.add(leaseText(lease));
    const hadTunnel = removed.filter(({ id }) => this.#users.delete(id)).length > 0;
    if (hadTunnel) this.#want();
    return removed;
  }

  list(): ReturnType<Engine['list']> {
    return this.inner.list();
  }

  inspect(id: SandboxId): ReturnType<Engine['inspect']> {
    return this.inner.inspect(id);
  }

  leases(): ReturnType<Engine['leases']> {
    return this.inner.leases();
  }

  release(slot: Slot, options: { readonly force: boolean }): ReturnType<Engine['release']> {
    return this.inner.release(slot, options);
  }

  reconcile(options: { readonly dryRun: boolean }): ReturnType<Engine['reconcile']> {
    return this.inner.reconcile(options);
  }

  async status(): Promise<Status> {
    const status = await this.inner.status();
    return { ...status, problems: [...status.problems, ...this.#tunnels.problems()] };
  }

  updatePeers(...told: Parameters<Engine['updatePeers']>): Promise<void> {
    return this.inner.updatePeers(...told);
  }

  updateMembers(...told: Parameters<Engine['updateMembers']>): Promise<void> {
    return this.inner.updateMembers(...told);
  }

  hosts(): ReturnType<Engine['hosts']> {
    return this.inner.hosts();
  }

  mesh(): ReturnType<Engine['mesh']> {
    return this.inner.mesh();
  }

  changeMesh(...wished: Parameters<Engine['changeMesh']>): ReturnType<Engine['changeMesh']> {
    return this.inner.changeMesh(...wished);
  }

  removeHost(name: string): Promise<void> {
    return this.inner.removeHost(name);
  }

  setDraining(isDraining: boolean): Promise<void> {
    return this.inner.setDraining(isDraining);
  }

  async purge(): Promise<void> {
    this.#users.clear();
    if (existsSync(this.#runFolder)) this.#want();
    await this.#tunnels.close();
    await this.inner.purge();
  }

  subscribe(listener: (event: CulvertEvent) => void): () => void {
    return this.#listeners.add(listener);
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#tunnels.close();
    // those that waited for a tunnel take away what they have made
    await Promise.allSettled(this.#creating);
    await this.inner.close();
  }

  #want(): void {
    // the tunnels stay as they are: what is too many goes with its namespace, or when the next daemon starts
    if (this.#isClosing) return;
    this.#tunnels.want([...new Map([...this.#users.values()].map((wish) => [wish.number, wish])).values()]);
  }

  #say({ tunnel, whose }: Wish, now: Error | { readonly notices: readonly string[] }): void {
    this.#listeners.publish(
      now instanceof Error
        ? { type: 'via.down', message: `Tunnel ${tunnel} is not there for ${whose}: ${now.message}` }
        : { type: 'via.connected', message: [`Tunnel ${tunnel} is there for ${whose}`, ...now.notices].join('; ') },
    );
    this.#news.look();
  }
}

function leaseText({ slot, generation }: Pick<Sandbox, 'slot' | 'generation'>): string {
  return `slot ${slot} generation ${generation}`;
}
