import { readFileSync } from 'node:fs';
import { NamespaceHandle } from '../../src/linux/namespace.ts';

const LOOK_MS = 100;

/** A sandbox that sends and hears, and the host that it is on; namespaces are given by their pins. */
export type QueuesOf = {
  readonly sandbox: { readonly id: string; readonly netns: string };
  readonly host: string;
  readonly root: string;
  readonly router: string;
};

/** Packets, by the queue. */
type Drops = Map<string, number>;

/**
 * Counts what was lost in queues that were full since whoever reads them had no processor for too long: it is not the
 * network's loss, and the kernel counts it apart. Only queues on the way between these sandboxes are looked at, and all the
 * while, as links that encrypt come and go with the keys.
 */
export class Queues implements Disposable {
  readonly #timer: NodeJS.Timeout;
  readonly #ends: readonly QueuesOf[];
  readonly #dropped: Drops = new Map();
  #last: Drops;

  constructor(ends: readonly QueuesOf[]) {
    this.#ends = ends;
    this.#last = this.#read();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Packets of all kinds of traffic, by the queue, since it was told to {@link forget}. */
  get dropped(): ReadonlyMap<string, number> {
    this.#look();
    return this.#dropped;
  }

  forget(): void {
    this.#dropped.clear();
  }

  /** Where what it looks at goes it is to look no more. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = this.#read();
    for (const [queue, count] of now) {
      const before = this.#last.get(queue) ?? 0;
      // one that counts less is another of the same name
      const more = count >= before ? count - before : count;
      if (more > 0) this.#dropped.set(queue, (this.#dropped.get(queue) ?? 0) + more);
    }
    this.#last = now;
  }

  #read(): Drops {
    return new Map([
      ['a processor', packetsOfProcessors()],
      ...this.#ends.flatMap(({ sandbox, host, root, router }) => [
        [`a socket in ${sandbox.id}`, noRoom(readIn(sandbox.netns, 'snmp'))] as const,
        [`a socket of ${host}`, noRoom(readIn(root, 'snmp'))] as const,
        ...unread(readIn(router, 'dev')),
      ]),
    ]);
  }
}

/** A file of /proc/net in a namespace. */
export function readIn(path: string, file: string): string {
  using namespace = new NamespaceHandle(path);
  return namespace.run(() => readFileSync(`/proc/thread-self/net/${file}`, 'utf8'));
}

/** Datagrams that sockets had no room for, proc(5) on /proc/net/snmp. */
function noRoom(snmp: string): number {
  const [names = [], values = []] = snmp
    .split('\n')
    .filter((line) => line.startsWith('Udp: '))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf('RcvbufErrors')]);
}

/** Of each link that a program reads, what it had no room for: column `drop` of what was sent in /proc/net/dev. */
function unread(dev: string): (readonly [string, number])[] {
  return dev.split('\n').flatMap((line) => {
    const [, name = '', rest = ''] = /^\s*(w[abcd]-\S+?):\s*(.*)$/.exec(line) ?? [];
    return name === '' ? [] : [[name, Number(rest.split(/\s+/)[11])] as const];
  });
}

/** What the machine's processors had no time for: the second column of /proc/net/softnet_stat, of all namespaces. */
function packetsOfProcessors(): number {
  const lines = readFileSync('/proc/net/softnet_stat', 'utf8').trim().split('\n');
  return lines.reduce((sum, line) => sum + Number.parseInt(line.split(' ')[1] ?? '0', 16), 0);
}
