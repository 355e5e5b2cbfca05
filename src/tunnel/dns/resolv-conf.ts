import { isIP } from 'node:net';
import type { DnsText } from './wanted.ts';

/*
 * The text of /etc/resolv.conf, see resolv.conf(5).
 */

/** Of the first line that Culvert writes. */
const MARK = '# Culvert: ';

/**
 * The file as the tunnels want it, the last on top. Only one can be asked at a time: what those below want is told
 * neither to its servers nor by them. A tunnel without servers changes where names are looked for, and leaves who is asked.
 *
 * @param below what was there before any of them
 */
export function renderResolvConf(
  stack: readonly { readonly tunnel: string; readonly want: DnsText }[],
  below: string,
): string {
  const { servers, search } = mergeDns(
    stack.map(({ want }) => want),
    parseResolvConf(below),
  );
  const names = stack.map(({ tunnel }) => tunnel).join(', ');
  const shown = search.filter((domain) => !domain.startsWith('~'));
  return [
    `${MARK}name servers of tunnel ${names}; what was here comes back when it ends\n`,
    ...servers.map((server) => `nameserver ${server}\n`),
    ...(shown.length === 0 ? [] : [`search ${shown.join(' ')}\n`]),
  ].join('');
}

/** What is asked, and searched, with the last of the stack on top. */
export function mergeDns(stack: readonly DnsText[], below: DnsText): DnsText {
  const deciding = stack.findLastIndex(({ servers }) => servers.length > 0);
  const above = stack.slice(deciding + 1).toReversed();
  const base = stack[deciding] ?? below;
  const search = [...above, base].flatMap((want) => want.search);
  return { servers: base.servers, search: [...new Set(search)] };
}

/** Whether a tunnel's text is there, though nothing may be known of the tunnel. */
export function isOfTunnel(text: string): boolean {
  return text.startsWith(MARK);
}

/** Servers may have a zone, as in `fe80::1%eth0`; of `domain` and `search` the last counts. */
export function parseResolvConf(text: string): DnsText {
  const servers: string[] = [];
  let search: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line.trim().split(/\s+/);
    const [first] = words;
    if (keyword === 'nameserver' && first !== undefined && isIP(first) !== 0) servers.push(first);
    if (keyword === 'search') search = words;
    if (keyword === 'domain' && first !== undefined) search = [first];
  }
  return { servers: [...new Set(servers)], search: [...new Set(search)] };
}

/** Whether names are asked of systemd-resolved on this machine, which asks others. */
export function isResolvedStub({ servers }: DnsText): boolean {
  return servers.length > 0 && servers.every((server) => server === '127.0.0.53' || server === '127.0.0.54');
}
