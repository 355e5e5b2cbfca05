import { readdirSync } from 'node:fs';
import type { LabHost } from '../../lab/host.ts';

/** What `ip` and `nft` say of a host's own namespace. */
export type HostState = {
  readonly links: readonly string[];
  readonly addresses: readonly string[];
  readonly routes: readonly string[];
  readonly rules: number;
  readonly tables: readonly string[];
  /** Of each link whether it forwards. */
  readonly forwarding: readonly string[];
};

type Address = { readonly ifname: string; readonly addr_info: readonly { readonly local: string }[] };
type Route = { readonly dst: string; readonly dev?: string; readonly gateway?: string };
type Ruleset = {
  readonly nftables: readonly { readonly table?: { readonly family: string; readonly name: string } }[];
};

export function lookAtHost(lab: Pick<LabHost, 'run'>, where = 'host'): HostState {
  const ask = (...command: string[]): unknown => JSON.parse(lab.run(where, ...command));
  const addresses = ask('ip', '-j', 'address') as Address[];
  const routes = ask('ip', '-j', '-4', 'route', 'show', 'table', 'all') as Route[];
  const { nftables } = ask('nft', '-j', 'list', 'ruleset') as Ruleset;
  return {
    links: addresses.map(({ ifname }) => ifname),
    addresses: addresses.flatMap(({ ifname, addr_info: all }) => all.map(({ local }) => `${ifname} ${local}`)),
    routes: routes.map(({ dst, dev, gateway }) => `${dst} ${dev ?? ''} ${gateway ?? ''}`.trimEnd()).toSorted(),
    rules: (ask('ip', '-j', 'rule') as unknown[]).length,
    tables: nftables.flatMap(({ table }) => (table === undefined ? [] : [`${table.family} ${table.name}`])),
    forwarding: lab.run(where, 'sh', '-c', 'grep . /proc/sys/net/ipv4/conf/*/forwarding').trimEnd().split('\n'),
  };
}

/** Names in a folder; none where there is no folder. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
