import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ConnectOptions } from '../src/tunnel/client/request.ts';
import { randomOf } from './random.ts';
import { SERVER, type Vpn } from './vpn.ts';
import { VpnClient } from './vpn-client.ts';

/** Of the time that connecting takes: until then a client may be killed, and so also when it is connected. */
const LATEST = 1.3;
/** Connects of either kind that tell how long it takes. */
const CALIBRATION = 5;
/** How many of those that connect next have their process there already, and come at once; the others start one. */
const AT_ONCE = 0.5;
/** How many of them are told to take all away; the others are killed too. */
const ENDED = 0.5;
/** ms until what was said to end has ended */
const ENDING_MS = 5000;

export type Cycle = {
  /** ms from the call of connect() of the client that was killed */
  readonly killedAfter: number;
  /** whether it was connected by then */
  readonly wasConnected: boolean;
  /** of the next one: ms from the call of connect() until it returned */
  readonly connect: number;
  /** ms from the start of its process until then; where that was there already, from the end of the one that was killed */
  readonly whole: number;
  readonly wasAdopted: boolean;
  /** whether its process was there already and waited for that end */
  readonly wasReady: boolean;
};

/** ms that connecting takes a client that finds nothing, and one that finds all of a tunnel */
export type ConnectTimes = { readonly nothing: number; readonly tunnel: number };

/** All that a client could leave on its host, in the words of the tools. */
export type VpnHoldings = Readonly<Record<string, string>>;

/**
 * Clients of one tunnel, with a kill switch and name servers, that are killed at any moment of connecting and after it,
 * and each time another that connects, in a process that is there and comes at once, or that is started then. Which moments
 * is a seed's to say, and whether that one is ended or killed too: so that the next finds nothing, all of a tunnel, or a
 * part.
 */
export class VpnCycles {
  readonly #vpn: Vpn;
  readonly #random: () => number;
  readonly #options: ConnectOptions;
  #finds: keyof ConnectTimes = 'nothing';
  #times: ConnectTimes = { nothing: 0, tunnel: 0 };

  private constructor(vpn: Vpn, seed: number) {
    this.#vpn = vpn;
    this.#random = randomOf(seed);
    this.#options = {
      name: 'vpn',
      config: vpn.config({ lines: ['DNS = 10.9.0.1'] }),
      killSwitch: true,
    };
  }

  static async begin(vpn: Vpn, seed: number): Promise<VpnCycles> {
    const cycles = new VpnCycles(vpn, seed);
    await cycles.#calibrate();
    return cycles;
  }

  /** of clients that nobody kills */
  get times(): ConnectTimes {
    return this.#times;
  }

  /** @param ends whether the tunnel is taken away in the end; else that is left to chance */
  async cycle(ends: boolean): Promise<Cycle> {
    using opened = new DisposableStack();
    const next = async (): Promise<VpnClient> => opened.use(await VpnClient.start(this.#vpn));
    const wasReady = this.#random() < AT_ONCE;
    const ready = wasReady ? await next() : undefined;
    const { killedAfter, wasConnected } = await this.#kill();
    const begin = performance.now();
    const client = ready ?? (await next());
    const { took: connect, wasAdopted } = await client.connect(this.#options);
    const whole = performance.now() - begin;
    // that it says so is not that it is
    this.#vpn.client.namespace.run('ping', '-c', '1', '-W', '5', SERVER.inside4);
    await this.#end(client, this.#random() < ENDED || ends);
    return { killedAfter, wasConnected, connect, whole, wasAdopted, wasReady };
  }

  /** What there is of a client that has ended, as soon as it is as expected, or when it should be. */
  async holdings(expected?: VpnHoldings): Promise<VpnHoldings> {
    const deadline = performance.now() + ENDING_MS;
    for (;;) {
      const found = holdingsOf(this.#vpn);
      const isSo = expected === undefined || JSON.stringify(found) === JSON.stringify(expected);
      if (isSo || performance.now() > deadline) return found;
      await pause(50);
    }
  }

  async #calibrate(): Promise<void> {
    const all = { nothing: [] as number[], tunnel: [] as number[] };
    for (let time = 0; time < 2 * CALIBRATION; time++) {
      using client = await VpnClient.start(this.#vpn);
      const { took, wasAdopted } = await client.connect(this.#options);
      all[wasAdopted ? 'tunnel' : 'nothing'].push(took);
      await this.#end(client, wasAdopted);
    }
    this.#times = { nothing: middle(all.nothing), tunnel: middle(all.tunnel) };
  }

  async #end(client: VpnClient, isEnded: boolean): Promise<void> {
    if (isEnded) await client.disconnect();
    await client.kill();
    this.#finds = isEnded ? 'nothing' : 'tunnel';
  }

  async #kill(): Promise<{ readonly killedAfter: number; readonly wasConnected: boolean }> {
    using client = await VpnClient.start(this.#vpn);
    let wasConnected = false;
    const begin = performance.now();
    const answer = client.connect(this.#options).then(
      () => (wasConnected = true),
      (error: unknown) => String(error),
    );
    const killedAfter = this.#random() * LATEST * this.#times[this.#finds];
    await pause(Math.floor(killedAfter));
    while (performance.now() - begin < killedAfter);
    await client.kill();
    const end = await answer;
    // what it said itself, and not that it was killed
    if (typeof end === 'string' && !end.includes('SIGKILL')) throw new Error(end);
    return { killedAfter, wasConnected };
  }
}

function middle(times: readonly number[]): number {
  return times.toSorted((one, other) => one - other)[Math.floor(times.length / 2)] ?? 0;
}

function holdingsOf(vpn: Vpn): VpnHoldings {
  const { folder, namespace } = vpn.client;
  const files = ['run', 'state', 'wireguard'].flatMap((name) =>
    readdirSync(join(folder, name), { recursive: true, encoding: 'utf8' }).map((path) => join(name, path)),
  );
  return {
    ...vpn.state(),
    files: files.toSorted().join('\n'),
    programs: programsIn(namespace.path).join('\n'),
  };
}

/** Names of what runs in a network namespace. */
function programsIn(path: string): string[] {
  const wanted = readlinkSync(path);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        if (readlinkSync(`/proc/${pid}/ns/net`) !== wanted) return [];
        return [readFileSync(`/proc/${pid}/comm`, 'utf8').trim()];
      } catch (error) {
        // it has ended, or is somebody else's
        if (['ENOENT', 'ESRCH', 'EACCES'].includes(String((error as NodeJS.ErrnoException).code))) return [];
        throw error;
      }
    })
    .toSorted();
}
