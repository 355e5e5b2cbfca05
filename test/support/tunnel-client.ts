import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { Vpn } from '../../lab/vpn.ts';
import { CULVERT, lineOf } from './command-line.ts';

/** Who has a tunnel on the command line, at the client's side of a lab: see the drawing in lab/vpn.ts. */
export class TunnelClient {
  readonly vpn: Vpn;

  constructor(vpn: Vpn) {
    this.vpn = vpn;
  }

  /** Of its journals and locks. */
  folder(kind: 'run' | 'state'): string {
    return join(this.vpn.client.folder, kind);
  }

  /** Writes a config's file. @returns its path */
  file(text: string, name = 'vpn'): string {
    const path = join(this.vpn.client.folder, `${name}.conf`);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  /** Starts `culvert connect` with a config. */
  start(text: string, ...options: string[]): ChildProcess {
    return this.spawn([], this.file(text), ...options);
  }

  /**
   * Starts `culvert connect`.
   *
   * @param before variables of its environment, such as `A=1`
   * @param parameters a file, and options
   */
  spawn(before: readonly string[], ...parameters: string[]): ChildProcess {
    return this.vpn.client.start('env', ...before, CULVERT, 'connect', ...parameters, ...this.#folders);
  }

  /** Resolves when it is connected. */
  async connect(text: string, ...options: string[]): Promise<ChildProcess> {
    const child = this.start(text, ...options);
    await lineOf(child, /is connected/);
    return child;
  }

  /** The same, with what it says of how it came about. */
  async connectTelling(text: string, ...options: string[]): Promise<Told> {
    const child = this.start(text, '--json', ...options);
    const lines: string[] = [];
    const connected = lineOf(child, /"connected"/);
    child.stdout?.on('data', (chunk: string) => void lines.push(chunk));
    const { wasAdopted } = JSON.parse(await connected) as Pick<Told, 'wasAdopted'>;
    return { child, wasAdopted, said: lines.join('') };
  }

  /** Runs a command of tunnels, and returns what it prints. */
  culvert(...parameters: string[]): string {
    return this.vpn.client.run(CULVERT, ...parameters, ...this.#folders);
  }

  /** Whether one packet to an address is answered. @param within_s less where none is to be: an answer is not waited for */
  pings(address: string, within_s = 10): boolean {
    try {
      this.vpn.client.namespace.run('ping', '-c', '1', '-W', String(within_s), address);
      return true;
    } catch {
      return false;
    }
  }

  /** By which link packets to an address leave. */
  wayTo(address: string): string {
    return /dev (\S+)/.exec(this.vpn.client.namespace.run('ip', 'route', 'get', address))?.[1] ?? '';
  }

  get #folders(): string[] {
    return ['--run-dir', this.folder('run'), '--state-dir', this.folder('state')];
  }
}

type Told = {
  readonly child: ChildProcess;
  readonly wasAdopted: boolean;
  /** all lines up to that it is connected */
  readonly said: string;
};

/** Sends a process a signal, and waits for its end. */
export async function kill(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

type TunnelLab = {
  readonly vpn: Vpn;
  readonly client: TunnelClient;
  /** all that a tunnel changes of the client, as it is without one; a test that changes more of it says so here */
  before: Record<string, string>;
};

/** For each test a lab of its own. */
export function useTunnelLab(): TunnelLab {
  let vpn: Vpn | undefined;
  const made = (): Vpn => {
    if (vpn === undefined) throw new Error('There is a lab within a test only');
    return vpn;
  };
  const lab = {
    get vpn(): Vpn {
      return made();
    },
    get client(): TunnelClient {
      return new TunnelClient(made());
    },
    before: {},
  };
  beforeEach(async () => {
    vpn = await Vpn.make();
    lab.before = vpn.state();
  });
  afterEach(() => vpn?.[Symbol.asyncDispose]());
  return lab;
}
