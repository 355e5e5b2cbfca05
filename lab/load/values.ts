import { randomBytes } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { isIPv4 } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { ValkeyClient } from '../valkey/client.ts';
import type { Reports, Tasks, Work } from './protocol.ts';

/** Keys that it writes in turn. */
const KEYS = 4;
const PAUSE_MS = 20;

/** See {@link Tasks}. */
export class Values implements Work<'values'> {
  readonly #client: ValkeyClient;
  readonly #task: Tasks['values'];
  readonly #errors: string[] = [];
  #isResting = true;
  #running: Promise<void> = Promise.resolve();
  #rounds = 0;
  #wrong = 0;

  private constructor(client: ValkeyClient, task: Tasks['values']) {
    this.#client = client;
    this.#task = task;
  }

  /** @throws Error where the name is not known, or nobody listens there */
  static async start(task: Tasks['values']): Promise<Values> {
    return new Values(await ValkeyClient.connect(await addressOf(task), task.port), task);
  }

  go(): void {
    if (!this.#isResting) return;
    this.#isResting = false;
    this.#running = this.#run();
  }

  async rest(): Promise<void> {
    this.#isResting = true;
    await this.#running;
  }

  report(): Reports['values'] {
    return { rounds: this.#rounds, wrong: this.#wrong, errors: this.#errors };
  }

  async #run(): Promise<void> {
    try {
      while (!this.#isResting) {
        // oxlint-disable-next-line no-await-in-loop -- one round after the other
        await this.#round();
        // oxlint-disable-next-line no-await-in-loop -- likewise
        await pause(PAUSE_MS);
      }
    } catch (error) {
      this.#errors.push(error instanceof Error ? error.message : String(error));
    }
  }

  async #round(): Promise<void> {
    const { prefix, size } = this.#task;
    const key = `${prefix}:${this.#rounds % KEYS}`;
    const value = randomBytes(size);
    await this.#client.ask('SET', key, value);
    const read = await this.#client.ask('GET', key);
    if (read === undefined || !value.equals(read)) this.#wrong++;
    this.#rounds++;
  }
}

async function addressOf({ store, resolver }: Tasks['values']): Promise<string> {
  if (isIPv4(store)) return store;
  const names = new Resolver({ tries: 3, timeout: 2000 });
  names.setServers([resolver]);
  const [address] = await names.resolve4(store);
  if (address === undefined) throw new Error(`${store} has no address`);
  return address;
}
