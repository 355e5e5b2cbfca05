import { join } from 'node:path';
import { Endpoint } from '../lab/endpoint/endpoint.ts';
import { LabHost } from '../lab/host.ts';
import { StandIn } from '../lab/stand-in/stand-in.ts';
import type { SandboxResource } from '../src/api/client/client.ts';
import { parseConfig } from '../src/daemon/config/config.ts';
import { Daemon, type DaemonPlace } from './daemon.ts';
import { Figures } from './figures.ts';
import { Ledger } from './ledger.ts';
import type { Narrator } from './narrator.ts';
import { RunFolder } from './run-folder.ts';

export type Topology = SandboxResource['topology'];

/** What holds where a config says nothing. */
const DEFAULTS = parseConfig({});

/** A sandbox with somebody inside. */
export type Resident = {
  readonly sandbox: SandboxResource;
  readonly endpoint: Endpoint;
  /** The pin of the namespace they are in: the sandbox's, or of a microVM's guest. */
  readonly netns: string;
};

function placeOf(lab: LabHost, folder: string): DaemonPlace {
  return { netns: lab.pin('host'), runDir: join(lab.folder, 'run'), folder, name: 'demo' };
}

/** All that the demo runs on. Everything is gone when it is disposed of. */
export class Stage implements Disposable {
  readonly narrator: Narrator;
  readonly figures = new Figures();
  /** Networks that a daemon keeps ready, by topology. */
  readonly poolSizes = DEFAULTS.pool;
  /** ms that an address rests at least */
  readonly quarantineFloorMs = DEFAULTS.quarantine.floorMs;
  readonly ledger = new Ledger(this.quarantineFloorMs);
  readonly lab: LabHost;
  readonly daemon: Daemon;
  readonly #stack = new DisposableStack();
  readonly #inhabited = new DisposableStack();
  readonly #residents: Resident[] = [];

  constructor(narrator: Narrator) {
    this.narrator = narrator;
    try {
      const folder = this.#stack.use(new RunFolder());
      this.lab = this.#stack.use(new LabHost());
      this.daemon = this.#stack.use(new Daemon(placeOf(this.lab, folder.path)));
      this.#stack.use(this.#inhabited);
    } catch (error) {
      this.#stack.dispose();
      throw error;
    }
  }

  /** Puts somebody into a namespace of the lab. */
  async endpoint(name: string): Promise<Endpoint> {
    return this.#stack.use(await Endpoint.start(name, this.lab.pin(name)));
  }

  /** Puts somebody into a sandbox; into a microVM's guest, should it be one. */
  async moveIn(sandbox: SandboxResource): Promise<void> {
    const { tap } = sandbox;
    let { netns } = sandbox;
    if (tap !== undefined) {
      netns = this.#inhabited.use(await StandIn.start(this.lab, `guest-${sandbox.slot}`, { ...sandbox, tap })).netns;
    }
    this.#residents.push({ sandbox, netns, endpoint: this.#inhabited.use(await Endpoint.start(sandbox.id, netns)) });
  }

  /** Ends those who live in sandboxes, and their guests. */
  moveOut(): void {
    this.#inhabited.dispose();
  }

  /** By the slot of their sandboxes. */
  get residents(): readonly Resident[] {
    return this.#residents.toSorted((a, b) => a.sandbox.slot - b.sandbox.slot);
  }

  /** One of those who live in sandboxes of a topology. */
  resident(topology: Topology, index: number): Resident {
    const found = this.residents.filter(({ sandbox }) => sandbox.topology === topology)[index];
    if (found === undefined) throw new Error(`Nobody lives in ${topology} sandbox ${index}`);
    return found;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
