import { readFileSync } from 'node:fs';
import { readFileIfThere } from '../../whole-file.ts';
import type { Programs } from './program.ts';
import type { DnsText } from './wanted.ts';

/*
 * The two programs that set name servers for who asks them to, and forget them again. Each is run as often as one
 * likes: to set what is set, or to forget what is not known, changes nothing.
 */

export type ProgramWay = 'resolvconf' | 'resolved';

/** As the program of the way knows the tunnel: by a record, or by its link. */
export function recordName(way: ProgramWay, link: string, interfaceOrder: string): string {
  return way === 'resolved' ? link : `${recordPrefix(readFileIfThere(interfaceOrder) ?? '')}${link}`;
}

/** The first pattern of Debian's resolvconf that ends with a star: a record of that kind comes before others, as wg-quick has it. */
function recordPrefix(interfaceOrder: string): string {
  const [, kind] = /^[ \t]*([A-Za-z0-9-]+)\*[ \t]*$/m.exec(interfaceOrder) ?? [];
  return kind === undefined ? '' : `${kind}.`;
}

/** @throws CulvertError `program_failed` */
export function setBy(programs: Programs, way: ProgramWay, record: string, want: DnsText): void {
  const { servers, search } = want;
  if (way === 'resolvconf') {
    const lines = servers.map((server) => `nameserver ${server}\n`);
    if (search.length > 0) lines.push(`search ${search.join(' ')}\n`);
    // exclusive, but not of servers where it has none
    const exclusive = servers.length > 0 ? ['-x'] : [];
    programs.run('resolvconf', ['-a', record, '-m', '0', ...exclusive], lines.join(''));
    return;
  }
  const everything = servers.length > 0 ? ['~.'] : [];
  // an empty list is an empty string
  programs.run('resolvectl', ['dns', record, ...orEmpty(servers)]);
  programs.run('resolvectl', ['domain', record, ...orEmpty([...new Set([...everything, ...search])])]);
}

/** @throws CulvertError `program_failed` */
export function unsetBy(programs: Programs, way: ProgramWay, record: string): void {
  if (way === 'resolvconf') programs.run('resolvconf', ['-d', record, '-f']);
  // with the link went all that was known of it
  else if (hasLink(record)) programs.run('resolvectl', ['revert', record]);
}

function orEmpty(words: readonly string[]): readonly string[] {
  return words.length === 0 ? [''] : words;
}

/** In the network namespace of the calling thread. */
function hasLink(name: string): boolean {
  const lines = readFileSync('/proc/thread-self/net/dev', 'utf8').split('\n');
  return lines.some((line) => line.trimStart().startsWith(`${name}:`));
}
