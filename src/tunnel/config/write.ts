import { formatIp } from '../../addr/ip.ts';
import { formatIpPrefix } from '../../addr/ip-prefix.ts';
import { InputError } from '../../errors.ts';
import type { Hooks, PeerConfig, TunnelConfig } from './config.ts';
import { formatEndpoint } from './endpoint.ts';

const PHASES: readonly (readonly [string, keyof Hooks])[] = [
  ['PreUp', 'preUp'],
  ['PostUp', 'postUp'],
  ['PreDown', 'preDown'],
  ['PostDown', 'postDown'],
];

/**
 * The file that `wg-quick save` writes of a link: what wg-quick(8) adds, then what `wg showconf` prints. That one forgets
 * the domains of DNS; they stand in this.
 *
 * @throws InputError `tunnel_config` where a hook cannot stand in a file
 */
export function writeTunnelConfig(config: TunnelConfig): string {
  const { privateKey, listenPort, fwMark, addresses, dns, mtu, table, hooks, saveConfig, peers } = config;
  const lines = [
    '[Interface]',
    ...addresses.map((address) => `Address = ${formatIpPrefix(address)}`),
    ...dns.servers.map((server) => `DNS = ${formatIp(server)}`),
    ...dns.search.map((domain) => `DNS = ${domain}`),
    ...(mtu === undefined ? [] : [`MTU = ${mtu}`]),
    ...(table === 'auto' ? [] : [`Table = ${table}`]),
    ...(saveConfig ? ['SaveConfig = true'] : []),
    ...PHASES.flatMap(([key, phase]) => hooks[phase].map((hook) => `${key} = ${writable(hook)}`)),
    ...(listenPort === undefined ? [] : [`ListenPort = ${listenPort}`]),
    ...(fwMark === undefined ? [] : [`FwMark = 0x${fwMark.toString(16)}`]),
    `PrivateKey = ${privateKey}`,
    ...peers.flatMap(peerLines),
  ];
  return `${lines.join('\n')}\n`;
}

function peerLines({ publicKey, presharedKey, allowedIps, endpoint, keepalive_s }: PeerConfig): string[] {
  return [
    '',
    '[Peer]',
    `PublicKey = ${publicKey}`,
    ...(presharedKey === undefined ? [] : [`PresharedKey = ${presharedKey}`]),
    ...(allowedIps.length === 0 ? [] : [`AllowedIPs = ${allowedIps.map(formatIpPrefix).join(', ')}`]),
    ...(endpoint === undefined ? [] : [`Endpoint = ${formatEndpoint(endpoint)}`]),
    ...(keepalive_s === 0 ? [] : [`PersistentKeepalive = ${keepalive_s}`]),
  ];
}

/** A file has no way to say these otherwise. */
function writable(hook: string): string {
  // oxlint-disable-next-line no-control-regex -- what is read back refuses them
  if (!/[#\u0000-\u0008\u000a-\u001f\u007f-\u009f]|^$|^[ \t]|[ \t]$/.test(hook)) return hook;
  const message = 'Cannot write a hook: it is empty, has blanks around it, or has a # or a control character';
  throw new InputError('tunnel_config', message, { field: 'hooks' });
}
