import { z } from 'zod';
import { formatIp, type Ip } from '../../addr/ip.ts';
import { InputError } from '../../errors.ts';

/** What a tunnel wants to be asked for names. */
export type WantedDns = {
  readonly servers: readonly Ip[];
  /** domains; with a `~` before it, one that is only sent there by who can tell domains apart (systemd-resolved) */
  readonly search: readonly string[];
};

/** The same as text, as files and programs have it. */
export const DNS_TEXT = z.strictObject({ servers: z.array(z.string()), search: z.array(z.string()) });
export type DnsText = Readonly<z.infer<typeof DNS_TEXT>>;

const SERVERS_MAX = 32;
const SEARCH_MAX = 64;
/** RFC 1035, 2.3.4 */
const DOMAIN_MAX = 253;

/** @throws InputError `invalid_search_domain`, `too_many_name_servers`, `too_many_search_domains` */
export function dnsText({ servers, search }: WantedDns): DnsText {
  if (servers.length > SERVERS_MAX)
    throw new InputError(
      'too_many_name_servers',
      `Cannot set ${servers.length} name servers: want up to ${SERVERS_MAX}`,
    );
  if (search.length > SEARCH_MAX)
    throw new InputError('too_many_search_domains', `Cannot set ${search.length} domains: want up to ${SEARCH_MAX}`);
  for (const domain of search) checkDomain(domain);
  return { servers: [...new Set(servers.map(formatIp))], search: [...new Set(search)] };
}

/** Whatever it is goes into files by lines and words. */
function checkDomain(domain: string): void {
  const bare = domain.replace(/^~/, '');
  if (domain === '~.' || (/^([\w-]{1,63}\.)*[\w-]{1,63}\.?$/.test(bare) && bare.length <= DOMAIN_MAX)) return;
  const message = `Cannot search in ${JSON.stringify(domain)}: want a domain, as in corp.example.com`;
  throw new InputError('invalid_search_domain', message);
}
