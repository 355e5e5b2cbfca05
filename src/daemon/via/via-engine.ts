import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Prefix } from '../../addr/prefix.ts';
import { CulvertError } from '../../errors.ts';
import type { SandboxId } from '../../ipam/lease.ts';
import type { Key } from '../../plan/wireguard/key.ts';
import { publicKeyOf } from '../../plan/wireguard/private-key.ts';
import { inBrief } from '../../sandbox/event.ts';
import type { Sandbox } from '../../sandbox/sandbox.ts';
import type { CreateRequest, Engine, Status } from '../engine.ts';
import { EngineOver } from '../engine-over.ts';
import { ProblemNews } from '../problem-news.ts';
import { OwnKeys } from './own-keys.ts';
import { assertApart, readViaFile } from './via-file.ts';
import { ViaTunnels } from './via-tunnels.ts';
import { type Wish, wishOf } from './wish.ts';

export type ViaOptions = {
  readonly runDir: string;
  readonly stateDir: string;
  /** folder of the files of tunnels */
  readonly tunnels: string;
  /** of the addresses of sandboxes */
  readonly ranges: readonly Prefix[];
  readonly report: (error: unknown) => void;
};

/** An engine whose sandboxes may leave by tunnels: one that does is there when its tunnel is. */
export class ViaEngine extends EngineOver<Engine> {
  readonly #options: ViaOptions;
  readonly #tunnels: ViaTunnels;
  readonly #runFolder: string;
  readonly #stateFolder: string;
  readonly #users = new Map<SandboxId, Omit<Wish, 'serial'>>();
  readonly #keys = new OwnKeys();
  readonly #news: ProblemNews;
  readonly #creating = new Set<Promise<Sandbox[]>>();
  /** Removed while there are creations: who made one of them may hear of it later than who removed it. */
  readonly #gone = new Set<string>();
  #isClosing = false;

  constructor(inner: Engine, options: ViaOptions) {
    super(inner);
    const { runDir, stateDir, tunnels: files, report } = options;
    this.#options = options;
    this.#runFolder = join(runDir, 'via');
    this.#stateFolder = join(stateDir, 'via');
    this.#tunnels = new ViaTunnels({
      files,
      pins: join(runDir, 'netns'),
      runFolder: this.#runFolder,
      stateFolder: this.#stateFolder,
      changed: (wish, now) => this.#say(wish, now),
      runs: (tunnel, key) => this.#keys.runs(tunnel, key),
      repaired: (changes) => {
        const message = `Put right in the router’s rules: ${inBrief(changes)}`;
        this.listeners.publish({ type: 'host.repaired', message });
      },
      lost: () => this.#news.look(),
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
      if (wish === undefined) continue;
      this.#users.set(sandbox.id, wish);
      this.#recall(wish.tunnel);
    }
    if (this.#users.size > 0 || existsSync(this.#runFolder)) this.#want();
  }

  override create(requests: readonly CreateRequest[]): ReturnType<Engine['create']> {
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
    const keys = this.#usable(requests);
    if (keys.size === 0) return this.inner.create(requests);
    this.#keys.ask(keys);
    try {
      return await this.#createWith([...keys.keys()], requests);
    } finally {
      this.#keys.settle(keys.keys(), this.#used());
    }
  }

  async #createWith(tunnels: readonly string[], requests: readonly CreateRequest[]): ReturnType<Engine['create']> {
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
      throw new CulvertError('via_down', `Cannot leave by tunnel ${tunnels.join(', ')}: ${why}`, { cause });
    }
    return sandboxes;
  }

  /** Public keys of the tunnels that are asked for, by name. @throws InputError `via_unknown`, `via_address`; CulvertError `via_file` */
  #usable(requests: readonly CreateRequest[]): Map<string, Key> {
    const { tunnels: folder, ranges } = this.#options;
    const keys = new Map<string, Key>();
    for (const { specification } of requests) {
      if (specification.via === undefined) continue;
      const { tunnel } = specification.via;
      const file = readViaFile(folder, tunnel);
      if (specification.group !== undefined) assertApart(tunnel, file, ranges);
      keys.set(tunnel, publicKeyOf(file.config.privateKey));
    }
    return keys;
  }

  /** Tunnels that sandboxes leave by. */
  #used(): Set<string> {
    return new Set([...this.#users.values()].map(({ tunnel }) => tunnel));
  }

  /** Of a tunnel that was there before this run. */
  #recall(tunnel: string): void {
    try {
      this.#keys.runs(tunnel, publicKeyOf(readViaFile(this.#options.tunnels, tunnel).config.privateKey));
    } catch (error) {
      // without its file it stands for as long as it does; whoever makes it again tells why that cannot be
      if (!(error instanceof CulvertError)) throw error;
    }
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
        // as where all were removed meanwhile, and nobody said which
        else if (now === undefined && this.#users.delete(id)) this.#want();
      } catch (error) {
        if (!(error instanceof CulvertError && error.code === 'sandbox_unknown')) this.#options.report(error);
      }
    }
  }

  override async remove(ids: readonly SandboxId[]): ReturnType<Engine['remove']> {
    const removed = await this.inner.remove(ids);
    if (this.#creating.size > 0) for (const lease of removed) this.#gone.add(leaseText(lease));
    const hadTunnel = removed.filter(({ id }) => this.#users.delete(id)).length > 0;
    if (hadTunnel) {
      this.#want();
      this.#keys.keep(this.#used());
    }
    return removed;
  }

  override async status(): Promise<Status> {
    const status = await this.inner.status();
    return { ...status, problems: [...status.problems, ...this.#tunnels.problems()] };
  }

  override async purge(): Promise<void> {
    this.#users.clear();
    if (existsSync(this.#runFolder)) this.#want();
    this.#isClosing = true;
    await this.#tunnels.close();
    await this.inner.purge();
    for (const folder of [this.#runFolder, this.#stateFolder]) rmSync(folder, { recursive: true, force: true });
  }

  override async close(): Promise<void> {
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
    this.listeners.publish(
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
