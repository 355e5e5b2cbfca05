import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertError } from '../../errors.ts';
import type { SandboxId } from '../../ipam/lease.ts';
import type { CreateRequest, Engine, Status } from '../engine.ts';
import { EngineOver } from '../engine-over.ts';
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
export class ViaEngine extends EngineOver<Engine> {
  readonly #options: ViaOptions;
  readonly #tunnels: ViaTunnels;
  readonly #runFolder: string;
  readonly #users = new Map<SandboxId, Omit<Wish, 'serial'>>();
  readonly #news: ProblemNews;

  constructor(inner: Engine, options: ViaOptions) {
    super(inner);
    const { runDir, stateDir, tunnels: files, report } = options;
    this.#options = options;
    this.#runFolder = join(runDir, 'via');
    this.#tunnels = new ViaTunnels({
      files,
      pins: join(runDir, 'netns'),
      runFolder: this.#runFolder,
      stateFolder: join(stateDir, 'via'),
      changed: (wish, now) => this.#say(wish, now),
      report,
    });
    this.#news = new ProblemNews(
      () => this.#tunnels.problems(),
      (event) => this.listeners.publish(event),
    );
  }

  /** Takes over what an earlier run left: when this returns it is on its way. */
  async start(): Promise<void> {
    for (const sandbox of await this.inner.list()) {
      const wish = wishOf(sandbox);
      if (wish !== undefined) this.#users.set(sandbox.id, wish);
    }
    if (this.#users.size > 0 || existsSync(this.#runFolder)) this.#want();
  }

  override async create(requests: readonly CreateRequest[]): ReturnType<Engine['create']> {
    const tunnels = new Set(requests.flatMap(({ specification }) => specification.via?.tunnel ?? []));
    if (tunnels.size === 0) return this.inner.create(requests);
    for (const tunnel of tunnels) readViaFile(this.#options.tunnels, tunnel);
    const former = new Set(this.#users.keys());
    const sandboxes = await this.inner.create(requests);
    const wishes = sandboxes.flatMap((sandbox) => {
      const wish = wishOf(sandbox);
      if (wish !== undefined) this.#users.set(sandbox.id, wish);
      return wish ?? [];
    });
    this.#want();
    try {
      await Promise.all(wishes.map(({ number }) => this.#tunnels.connected(number)));
    } catch (cause) {
      await this.#giveUp(sandboxes.map(({ id }) => id).filter((id) => !former.has(id)));
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CulvertError('via_down', `Cannot leave by tunnel ${[...tunnels].join(', ')}: ${why}`, { cause });
    }
    return sandboxes;
  }

  /** Of a creation that failed; who else removes one of them meanwhile has done the same. */
  async #giveUp(ids: readonly SandboxId[]): Promise<void> {
    for (const id of ids) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one that is gone keeps no other
        await this.remove([id]);
      } catch (error) {
        if (!(error instanceof CulvertError && error.code === 'sandbox_unknown')) this.#options.report(error);
      }
    }
  }

  override async remove(ids: readonly SandboxId[]): ReturnType<Engine['remove']> {
    const removed = await this.inner.remove(ids);
    const hadTunnel = removed.filter(({ id }) => this.#users.delete(id)).length > 0;
    if (hadTunnel) this.#want();
    return removed;
  }

  override async status(): Promise<Status> {
    const status = await this.inner.status();
    return { ...status, problems: [...status.problems, ...this.#tunnels.problems()] };
  }

  override async purge(): Promise<void> {
    this.#users.clear();
    if (existsSync(this.#runFolder)) this.#want();
    await this.#tunnels.close();
    await this.inner.purge();
  }

  override async close(): Promise<void> {
    await this.#tunnels.close();
    await this.inner.close();
  }

  #want(): void {
    this.#tunnels.want([...new Map([...this.#users.values()].map((wish) => [wish.number, wish])).values()]);
  }

  #say({ tunnel, whose }: Wish, now: Error | { readonly notices: readonly string[] }): void {
    this.listeners.publish(
      now instanceof Error
        ? { type: 'via.down', message: `Tunnel ${tunnel} is not there for ${whose}: ${now.message}` }
        : { type: 'via.connected', message: [`Tunnel ${tunnel} is there for ${whose}`, ...now.notices].join('; ') },
    );
    this.#news.look();
  }
}
