import type { Ip } from '../../addr/ip.ts';
import { type IpPrefix, parseIpPrefix } from '../../addr/ip-prefix.ts';
import { InputError } from '../../errors.ts';
import type { Hooks, RoutedConfig, TunnelConfig } from '../config/config.ts';
import { tunnelName } from '../config/name.ts';
import { withOptions } from '../config/options.ts';
import { readTunnelConfig } from '../config/read.ts';
import { readDns } from '../config/values.ts';
import type { BackendKind } from '../device/device.ts';
import { RT_TABLE_MAIN } from '../plan/routing.ts';

export type ConnectOptions = {
  readonly protocol?: 'wireguard';
  /** what a wg-quick(8) file says */
  readonly config: string;
  /** of the tunnel, and of its link */
  readonly name: string;
  /** what goes through the tunnel, in place of all that its peers may send */
  readonly splitIPs?: readonly string[];
  /** what does not */
  readonly excludes?: readonly string[];
  /** Nothing leaves but through the tunnel, and to what is allowed. It outlives this process. */
  readonly killSwitch?: boolean | { readonly allow?: readonly string[] };
  /** name servers and search domains, in place of the config's; false for none */
  readonly dns?: readonly string[] | false;
  /** bytes */
  readonly mtu?: number;
  /**
   * Path of a network namespace, such as `/run/netns/NAME`, that the tunnel is for: its link is there, and its encrypted
   * packets come and go where this process is. So what is inside has no other way than the tunnel, and needs no kill
   * switch; one that has another default route is refused.
   */
  readonly namespace?: string;
  /** What that namespace forwards, as of a virtual machine, leaves by the tunnel too, under the tunnel's address. */
  readonly forwards?: boolean;
  /** number of a table of routes in that namespace, in place of the main one and of the config's */
  readonly table?: number;
  /** Runs the hooks of the config, lines for bash(1): whoever writes it then runs what they like. */
  readonly allowHooks?: boolean;
  /** the config's file, which is written anew at the end where it says `SaveConfig = true`; else nothing is */
  readonly saveTo?: string;
  /** for the first handshake; 15 s where absent, and with 0 none is waited for: who has no endpoints is called */
  readonly timeoutMs?: number;
  /** Waits as long again until somebody inside has answered (ICMP echo). */
  readonly waitForData?: boolean;
  /** It stays when this process or thread ends in order: whoever connects by its name next takes it over. */
  readonly staysAtExit?: boolean;
  /** who makes the device; the kernel where it can, and absent */
  readonly backend?: BackendKind;
  /** of this boot; /run/culvert/tunnels where absent */
  readonly runFolder?: string;
  /** of what outlives a boot; /var/lib/culvert/tunnels where absent */
  readonly stateFolder?: string;
};

export type ConnectRequest = {
  readonly name: string;
  readonly config: RoutedConfig;
  /** what the file says, without what was asked for besides */
  readonly source: TunnelConfig;
  /** absent where there is no kill switch */
  readonly allow?: readonly IpPrefix[];
  readonly forwards: boolean;
  readonly timeoutMs: number;
  readonly waitsForData: boolean;
  readonly staysAtExit: boolean;
  readonly backend?: BackendKind;
  readonly hooks: Hooks;
  readonly saveTo?: string;
};

const NO_HOOKS: Hooks = { preUp: [], postUp: [], preDown: [], postDown: [] };

/** All of {@link ConnectOptions}. */
const OPTIONS: ReadonlySet<string> = new Set(
  Object.keys({
    protocol: 0,
    config: 0,
    name: 0,
    splitIPs: 0,
    excludes: 0,
    killSwitch: 0,
    dns: 0,
    mtu: 0,
    namespace: 0,
    forwards: 0,
    table: 0,
    allowHooks: 0,
    saveTo: 0,
    timeoutMs: 0,
    waitForData: 0,
    staysAtExit: 0,
    backend: 0,
    runFolder: 0,
    stateFolder: 0,
  } satisfies Record<keyof ConnectOptions, 0>),
);

const TIMEOUT_MS = 15_000;
const TIMEOUT_MOST_MS = 3_600_000;

/** All that is wrong with what is asked for shows here: nothing is changed yet. @throws InputError */
export function readRequest(options: ConnectOptions): ConnectRequest {
  // who misspells `killSwitch` is not to have none
  for (const key of Object.keys(options)) {
    if (OPTIONS.has(key)) continue;
    const message = `Cannot connect with ${JSON.stringify(key.slice(0, 40))}: want ${[...OPTIONS].join(', ')}`;
    throw new InputError('tunnel_options', message, { field: key.slice(0, 40) });
  }
  for (const field of ['name', 'config'] as const) {
    if (typeof options[field] === 'string') continue;
    throw new InputError('tunnel_options', `Cannot connect without ${field}: want a string`, { field });
  }
  const { protocol = 'wireguard', killSwitch = false, timeoutMs = TIMEOUT_MS, backend } = options;
  if (protocol !== 'wireguard') {
    throw new InputError('tunnel_options', `Cannot connect by ${JSON.stringify(protocol)}: want wireguard`, {
      field: 'protocol',
    });
  }
  if (!Number.isInteger(timeoutMs) || timeoutMs < 0 || timeoutMs > TIMEOUT_MOST_MS) {
    const message = `Cannot wait ${timeoutMs} ms for a handshake: want 0 to ${TIMEOUT_MOST_MS}`;
    throw new InputError('tunnel_options', message, { field: 'timeoutMs' });
  }
  const name = tunnelName(options.name);
  const read = inNamespace(readTunnelConfig(options.config), options);
  const dns =
    options.dns === false ? { servers: [] as readonly Ip[], search: [] } : options.dns && readDns(options.dns);
  const config = withOptions(read, {
    ...(options.splitIPs === undefined ? {} : { splitIPs: prefixes('splitIPs', options.splitIPs) }),
    ...(options.excludes === undefined ? {} : { excludes: prefixes('excludes', options.excludes) }),
    ...(dns === undefined ? {} : { dns }),
    ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
  });
  const allow = killSwitch === true ? [] : killSwitch === false ? undefined : (killSwitch.allow ?? []);
  return {
    name,
    config,
    source: read,
    ...(allow === undefined ? {} : { allow: prefixes('killSwitch.allow', allow) }),
    forwards: options.forwards === true,
    timeoutMs,
    waitsForData: options.waitForData === true,
    staysAtExit: options.staysAtExit === true,
    hooks: options.allowHooks === true ? config.hooks : NO_HOOKS,
    ...(options.saveTo === undefined || !config.saveConfig ? {} : { saveTo: options.saveTo }),
    ...(backend === undefined ? {} : { backend }),
  };
}

/** In a namespace of its own a default route needs no table of its own: the encrypted packets are not there. */
function inNamespace(config: TunnelConfig, { namespace, killSwitch, forwards, table }: ConnectOptions): TunnelConfig {
  if (namespace === undefined) {
    for (const [field, value] of Object.entries({ forwards, table })) {
      if (value === undefined || value === false) continue;
      throw new InputError('tunnel_options', `Cannot use ${field} without a namespace`, { field });
    }
    return config;
  }
  if (killSwitch !== undefined && killSwitch !== false) {
    const message = 'Cannot have a kill switch for a namespace: what is in it has no way but the tunnel; leave it out';
    throw new InputError('tunnel_options', message, { field: 'killSwitch' });
  }
  if (config.table === 'off') return config;
  return { ...config, table: table ?? (config.table === 'auto' ? RT_TABLE_MAIN : config.table) };
}

function prefixes(field: string, texts: readonly string[]): IpPrefix[] {
  return texts.map((text, index) => {
    try {
      return parseIpPrefix(text);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new InputError('tunnel_options', message, { field: `${field}[${index}]`, cause });
    }
  });
}
