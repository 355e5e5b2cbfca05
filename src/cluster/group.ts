import type { Ipv4 } from '../addr/ipv4.ts';
import { groupKeys, memberIn } from './keys.ts';
import { readMember } from './records.ts';
import type { Registry } from './registry.ts';

/** A sandbox that is in a group, as its host tells. */
export type GroupMember = {
  readonly host: string;
  readonly id: string;
  readonly address: Ipv4;
  readonly generation: number;
};

export type GroupChange = {
  readonly host: string;
  readonly id: string;
  /** undefined where it is not in the group any more, or cannot be read */
  readonly member: GroupMember | undefined;
};

/**
 * Follows who is in a group until it is told to end.
 *
 * @param changed hears who has changed, and whether those are all that there are
 * @throws CulvertError `registry_denied`
 */
export async function followGroup(
  registry: Registry,
  group: string,
  changed: (changes: readonly GroupChange[], isAll: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  for await (const news of registry.follow(groupKeys(group), signal)) {
    const entries = news.kind === 'all' ? news.entries : news.changes;
    changed(
      entries.flatMap(({ key, value }) => changeOf(key, value) ?? []),
      news.kind === 'all',
    );
  }
}

/** One that nobody can read is nobody's neighbour: its host says it again with its next change. */
function changeOf(key: string, value: string | undefined): GroupChange | undefined {
  const name = memberIn(key);
  if (name === undefined) return undefined;
  try {
    return { ...name, member: value === undefined ? undefined : { ...name, ...readMember(key, value) } };
  } catch {
    return { ...name, member: undefined };
  }
}
