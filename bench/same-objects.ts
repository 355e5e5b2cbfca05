import { execFileSync } from 'node:child_process';
import type { Culvert } from './contestants/culvert.ts';
import type { KernelLimit } from './contestants/kernel-limit.ts';

/** Whoever has namespaces by these names. */
type Pinned = { pin(name: string): string };

/** The first sandbox of both. */
const SANDBOX = 's1';

/** What shows all of a sandbox network that the kernel holds, by namespace. */
const LOOKS: readonly (readonly [namespace: string, ...command: string[]])[] = [
  ...['lo', 'eth0', 'tap0'].map((link) => [SANDBOX, 'ip', '-j', '-d', 'link', 'show', 'dev', link] as const),
  [SANDBOX, 'ip', '-j', 'address'],
  [SANDBOX, 'ip', '-j', 'route', 'show', 'table', 'all'],
  [SANDBOX, 'ip', '-j', '-6', 'route', 'show', 'table', 'all'],
  [SANDBOX, 'ip', '-j', 'rule'],
  [SANDBOX, 'ip', '-j', 'neighbour'],
  [SANDBOX, 'ip', '-j', 'netconf'],
  [SANDBOX, 'tc', '-j', 'qdisc'],
  [SANDBOX, 'nft', '-j', 'list', 'ruleset'],
  ['router', 'ip', '-j', '-d', 'link', 'show', 'dev', SANDBOX],
  ['router', 'ip', '-j', 'address', 'show', 'dev', SANDBOX],
  ['router', 'ip', '-j', 'route', 'show', 'table', 'all', 'dev', SANDBOX],
  ['router', 'ip', '-j', 'neighbour', 'show', 'dev', SANDBOX],
  ['router', 'ip', '-j', 'netconf', 'show', 'dev', SANDBOX],
  ['router', 'nft', '-j', 'list', 'map', 'inet', 'culvert', 'outbound'],
  ['router', 'nft', '-j', 'list', 'map', 'inet', 'culvert', 'inbound'],
];

/** Numbers that the kernel or nft(8) gives out as they come. */
const BY_CHANCE = new Set(['handle', 'link_netnsid', 'metainfo']);

/**
 * Makes one network with each, and sees that it is the same in the kernel: a comparison of what takes how long is of
 * no use otherwise.
 *
 * @throws Error that shows the objects that differ
 */
export async function assertSameObjects(culvert: Culvert, kernel: KernelLimit): Promise<void> {
  await culvert.createNamed('n1');
  await kernel.create(1);
  const ours = look(culvert);
  const theirs = look(kernel);
  const missing = ours.filter((line) => !theirs.includes(line)).map((line) => `- ${line}`);
  const extra = theirs.filter((line) => !ours.includes(line)).map((line) => `+ ${line}`);
  if (missing.length + extra.length === 0) return;
  throw new Error(
    ['Cannot compare with bench/reference/kernel-limit.c: it does not make what microvm networks are made of']
      .concat(missing, extra)
      .join('\n'),
  );
}

/** A line per object, in no order. */
function look(pinned: Pinned): string[] {
  return LOOKS.flatMap(([namespace, ...command]) => {
    const text = execFileSync('nsenter', [`--net=${pinned.pin(namespace)}`, ...command], { encoding: 'utf8' });
    const found: unknown = text === '' ? [] : JSON.parse(text, withoutChance);
    const objects = Array.isArray(found) ? found : Object.values(found as object).flat();
    return objects.map((object) => `${namespace}: ${command.join(' ')}: ${JSON.stringify(object)}`);
  });
}

/** Of a comment that is a digest, only its form is compared. */
function withoutChance(key: string, value: unknown): unknown {
  if (BY_CHANCE.has(key)) return undefined;
  return key === 'comment' && typeof value === 'string' ? value.replace(/^[0-9a-f]{32}$/, 'a digest') : value;
}
