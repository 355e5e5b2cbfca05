import { join } from 'node:path';
import type { ConnectOptions } from '../src/tunnel/client/request.ts';
import { LineProcess } from './line-process.ts';
import type { Vpn } from './vpn.ts';
import type { VpnAnswer } from './vpn-program.ts';

const PROGRAM = join(import.meta.dirname, 'vpn-program.ts');

type Connected = Extract<VpnAnswer, { took: number }>;

/** A process on a Vpn's client that connects by the library. It ends when it is disposed of, by SIGKILL. */
export class VpnClient implements Disposable {
  readonly #process: LineProcess;
  readonly #folders: Pick<ConnectOptions, 'runFolder' | 'stateFolder'>;

  private constructor(vpn: Vpn) {
    const { client } = vpn;
    this.#process = new LineProcess(undefined, 'nsenter', client.command(process.execPath, PROGRAM));
    this.#folders = { runFolder: join(client.folder, 'run'), stateFolder: join(client.folder, 'state') };
  }

  /** One that is ready to connect. */
  static async start(vpn: Vpn): Promise<VpnClient> {
    const client = new VpnClient(vpn);
    await client.#process.line();
    return client;
  }

  /** @throws Error with the code of the error in the process */
  connect(options: ConnectOptions): Promise<Connected> {
    return this.#ask({ ...this.#folders, ...options });
  }

  /** @returns ms @throws Error likewise */
  async disconnect(): Promise<number> {
    return (await this.#ask(null)).took;
  }

  /** Resolves when it has ended. */
  kill(): Promise<void> {
    return this.#process.end('SIGKILL');
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
  }

  async #ask(options: ConnectOptions | null): Promise<Connected> {
    const answer = JSON.parse(await this.#process.ask(JSON.stringify(options))) as VpnAnswer;
    if ('took' in answer) return answer;
    throw Object.assign(new Error(answer.message), { code: answer.code });
  }
}
