import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CulvertClient } from '../../src/api/client/client.ts';
import { parseConfig } from '../../src/daemon/config/config.ts';
import { type Daemon, serve, type Timing } from '../../src/daemon/main.ts';
import { MemoryEngine } from './memory-engine.ts';

export type Options = {
  /** What the config says, but for its folders. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly engine?: MemoryEngine;
  readonly timing?: Timing;
};

/** A daemon whose engine is in memory, on a real socket in a folder of its own that goes with it. */
export class MemoryDaemon implements AsyncDisposable {
  readonly engine: MemoryEngine;
  readonly folder: string;
  readonly client: CulvertClient;
  /** What was reported as nobody's input. */
  readonly reports: unknown[];
  readonly #daemon: Daemon;

  private constructor(engine: MemoryEngine, folder: string, daemon: Daemon, reports: unknown[]) {
    this.engine = engine;
    this.folder = folder;
    this.reports = reports;
    this.#daemon = daemon;
    this.client = new CulvertClient({ socketPath: daemon.socketPath });
  }

  static async start({ config = {}, engine = new MemoryEngine(), timing = {} }: Options = {}): Promise<MemoryDaemon> {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-'));
    const reports: unknown[] = [];
    try {
      const parsed = parseConfig({ ...config, runDir: folder });
      const daemon = await serve(engine, parsed, '0.0.0', (error) => reports.push(error), timing);
      return new MemoryDaemon(engine, folder, daemon, reports);
    } catch (error) {
      rmSync(folder, { recursive: true });
      throw error;
    }
  }

  get socketPath(): string {
    return this.#daemon.socketPath;
  }

  get tcpPort(): number | undefined {
    return this.#daemon.tcpPort;
  }

  get closed(): Promise<void> {
    return this.#daemon.closed;
  }

  close(): Promise<void> {
    return this.#daemon.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await this.close();
    rmSync(this.folder, { recursive: true });
  }
}
