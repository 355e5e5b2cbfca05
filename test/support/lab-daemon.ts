import { LabHost } from '../../lab/host.ts';
import type { Core } from '../../src/daemon/core.ts';
import type { CoreOptions } from '../../src/daemon/core-options.ts';
import { parseSandboxId, type Topology } from '../../src/ipam/lease.ts';
import { NamespaceHandle } from '../../src/linux/namespace.ts';
import type { NewEvent } from '../../src/sandbox/event.ts';
import type { EgressPolicy } from '../../src/sandbox/policy/policy.ts';
import type { Sandbox } from '../../src/sandbox/sandbox.ts';
import { openCore, pause_ms, settle } from './lab-core.ts';

/** Steps of a millisecond at the least: ten seconds, and more on a slow machine. */
const MAX_STEPS = 10_000;

const OPEN: EgressPolicy = { egress: 'open', allow: [], deny: [] };

/** A {@link LabHost} with a core in it that can be stopped and started again, and the events of all its runs. */
export class LabDaemon implements Disposable {
  readonly lab = new LabHost();
  readonly events: NewEvent[] = [];
  readonly #inside: NamespaceHandle;
  readonly #options: Partial<CoreOptions>;
  #core: Core | undefined;

  constructor(options: Partial<CoreOptions> = {}) {
    this.#inside = new NamespaceHandle(this.lab.pin('host'));
    this.#options = { emit: (event) => void this.events.push(event), ...options };
    this.start();
  }

  start(): void {
    this.#core = this.#inside.run(() => openCore(this.lab.folder, this.#options));
  }

  stop(): void {
    const core = this.#core;
    this.#core = undefined;
    if (core !== undefined) this.#inside.run(() => core[Symbol.dispose]());
  }

  /** Runs `body` on the thread inside the host. */
  inside<T>(body: () => T): T {
    return this.#inside.run(body);
  }

  /** The same with the core. */
  with<T>(body: (core: Core) => T): T {
    const core = this.#core;
    if (core === undefined) throw new Error('The daemon is stopped');
    return this.#inside.run(() => body(core));
  }

  create(id: string, topology: Topology, policy: EgressPolicy = OPEN): Sandbox {
    const request = { id: parseSandboxId(id), specification: { topology, rates: {}, policy } };
    const [sandbox] = this.with((core) => core.create([request]));
    if (sandbox === undefined) throw new Error('No sandbox was made');
    return sandbox;
  }

  /** Removes them, until their slots are free. */
  remove(...ids: string[]): void {
    this.with((core) => {
      core.remove(ids.map((id) => parseSandboxId(id)));
      settle(core);
    });
  }

  /** The codes of the problems that a person sees. */
  problems(): string[] {
    return this.with((core) => core.status().problems.map(({ code }) => code));
  }

  /** @param failed hears of a step that fails, which ends it otherwise */
  stepUntil(isDone: () => boolean, failed?: (error: unknown) => void): void {
    for (let step = 0; !isDone(); step++) {
      if (step === MAX_STEPS) throw new Error(`It did not come to pass; events: ${JSON.stringify(this.events)}`);
      try {
        this.with((core) => core.step());
      } catch (error) {
        if (failed === undefined) throw error;
        failed(error);
      }
      pause_ms(1);
    }
  }

  /** Steps until there are so many events of the type, and returns all of them. */
  eventsOf(type: string, count: number): NewEvent[] {
    const found = (): NewEvent[] => this.events.filter((event) => event.type === type);
    this.stepUntil(() => found().length >= count);
    return found();
  }

  [Symbol.dispose](): void {
    this.stop();
    this.#inside[Symbol.dispose]();
    this.lab[Symbol.dispose]();
  }
}
