import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { buildFrame } from '../../lab/frame.ts';
import { RawLink } from '../../lab/raw-link.ts';
import { WireWatch } from '../../lab/wire-watch.ts';
import { lineOf } from './command-line.ts';
import type { TunnelClient } from './tunnel-client.ts';

const STEPS = join(import.meta.dirname, 'tunnel-steps.ts');

/** How often it is looked whether a process has stopped. */
const LOOK_MS = 2;

/** All but encrypted packets, and what keeps a link alive. */
export const CLEAR =
  'not arp and not udp port 51820 and not ip6 multicast and not (icmp6 and ip6[40] >= 133 and ip6[40] <= 136)';

/** Where the machine's programs talk to, in both families; what answers there is nobody's concern. */
const FAR = { inet: '192.0.2.1', inet6: '2001:db8:f::1' } as const;

/** Asks each name server that the machine has, as a resolver does, and talks to the world. */
const BURST = `
  while read -r word server; do
    [ "$word" != nameserver ] || echo q >"/dev/udp/$server/53"
  done </etc/resolv.conf
  for far in ${FAR.inet} ${FAR.inet6}; do echo x >"/dev/udp/$far/9"; done`;

/** From nobody to nobody. */
const LAST = {
  ether: { from: '02:00:00:00:00:01', to: '02:00:00:00:00:02' },
  from: '192.0.2.98',
  to: '192.0.2.99',
} as const;

/** What whoever is on the wire can read of what the machine said after a step of its client. */
export type Overheard = {
  readonly step: string;
  /** whether the world was talked to in clear */
  readonly inet: boolean;
  readonly inet6: boolean;
  /** name servers that were asked in clear */
  readonly asked: readonly string[];
};

/** Walks through the steps of a client with it, and listens on the wire after each. */
export class TunnelWalk implements AsyncDisposable {
  readonly #client: TunnelClient;
  readonly #wire: WireWatch;
  readonly #stops: string;
  readonly #link: RawLink;
  #read = 0;
  #said = 0;

  private constructor(client: TunnelClient, wire: WireWatch) {
    const { namespace } = client.vpn.client;
    const [{ ifindex = 0 } = {}] = JSON.parse(namespace.run('ip', '-j', 'link', 'show', 'eth0')) as {
      ifindex?: number;
    }[];
    this.#link = new RawLink(namespace, ifindex);
    this.#client = client;
    this.#wire = wire;
    this.#stops = join(client.vpn.client.folder, 'stops');
  }

  static async begin(client: TunnelClient): Promise<TunnelWalk> {
    const at = { wire: client.vpn.server.namespace.path };
    return new TunnelWalk(client, await WireWatch.start(at, { link: 'eth0', filter: CLEAR }));
  }

  /** What is overheard after each step of connecting, and in the end. */
  async connect(text: string, ...options: string[]): Promise<{ child: ChildProcess; heard: Overheard[] }> {
    const variables = [`NODE_OPTIONS=--import=${STEPS}`, `KILL_STOPS=${this.#stops}`];
    const child = this.#client.spawn(variables, this.#client.file(text), '--timeout', '60', ...options);
    const heard = await this.#walk(child, lineOf(child, /is connected/));
    return { child, heard: [...heard, await this.listen('is connected')] };
  }

  /** What is overheard after each step of disconnecting, and in the end. */
  async end(child: ChildProcess): Promise<Overheard[]> {
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    const heard = await this.#walk(child, exit);
    return [...heard, await this.listen('has ended')];
  }

  /** What is overheard now. */
  async listen(step: string): Promise<Overheard> {
    this.#client.vpn.client.run('bash', '-c', `{ ${BURST}\n} 2>/dev/null || true`);
    const lines = await this.#heard();
    const isTo = (address: string): boolean => lines.some((line) => line.includes(` > ${address}.9: `));
    const asked = lines.flatMap((line) => / > (\S+)\.53: /.exec(line)?.[1] ?? []);
    return { step, inet: isTo(FAR.inet), inet6: isTo(FAR.inet6), asked: [...new Set(asked)] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#link[Symbol.dispose]();
    await this.#wire[Symbol.asyncDispose]();
  }

  /** All that has been said: a frame that passes by every firewall is heard last. */
  async #heard(): Promise<string[]> {
    const number = ++this.#said;
    this.#link.send(buildFrame({ ...LAST, body: { kind: 'udp', from: 7, to: 7, text: 'x'.repeat(number) } }));
    const lines: string[] = [];
    while (!lines.some((line) => line.endsWith(`${LAST.to}.7: UDP, length ${number}`))) {
      // oxlint-disable-next-line no-await-in-loop -- asked again and again
      lines.push(...(await this.#wire.seen()).map(({ line }) => line));
    }
    return lines;
  }

  /** Disconnects without listening. */
  async leave(child: ChildProcess): Promise<void> {
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    await atEachStop(child, exit, async () => undefined);
  }

  async #walk(child: ChildProcess, over: Promise<unknown>): Promise<Overheard[]> {
    const heard: Overheard[] = [];
    await atEachStop(child, over, async () => {
      const lines = this.#lines();
      heard.push(await this.listen(lines.slice(this.#read).join('; ')));
      this.#read = lines.length;
    });
    return heard;
  }

  #lines(): string[] {
    return existsSync(this.#stops) ? readFileSync(this.#stops, 'utf8').trimEnd().split('\n') : [];
  }
}

/** Has a process go on each time that it has stopped itself, after `body`, until something else is over. */
async function atEachStop(child: ChildProcess, over: Promise<unknown>, body: () => Promise<void>): Promise<void> {
  const state = { isOver: false };
  const done = over.finally(() => (state.isOver = true));
  // it is told of below
  done.catch(() => undefined);
  while (!state.isOver) {
    if (isStopped(child)) {
      // oxlint-disable-next-line no-await-in-loop -- one step after the other
      await body();
      child.kill('SIGCONT');
    }
    // oxlint-disable-next-line no-await-in-loop -- asked again and again
    await pause(LOOK_MS);
  }
  await done;
}

function isStopped({ pid }: ChildProcess): boolean {
  try {
    return /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    // it has ended
    return false;
  }
}
