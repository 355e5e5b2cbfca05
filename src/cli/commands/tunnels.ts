import type { Command } from 'commander';
import { formatIpPrefix } from '../../addr/ip-prefix.ts';
import { CulvertError } from '../../errors.ts';
import { formatEndpoint } from '../../plan/wireguard/endpoint.ts';
import type { ShownPeer } from '../../tunnel/client/seen-peers.ts';
import { addCommand, type Common } from '../command.ts';
import { print, printJson, printTable } from '../output.ts';
import { addFolders, type FolderOptions, foldersGiven } from '../tunnel-folders.ts';
import { roundedBytes } from '../units.ts';

type Options = Common & FolderOptions & { readonly clean?: true };

export function addTunnels(program: Command): void {
  const command = addCommand(program, {
    usage: 'tunnels',
    summary: 'List the tunnels of this machine, and what is left of some',
    details: 'It asks the kernel: what a client that was killed has left is listed too, and --clean takes it away.',
    examples: [
      ['culvert tunnels', 'who keeps which'],
      ['culvert tunnels --clean', 'take away what nobody keeps, kill switches too'],
    ],
  }).option('--clean', 'take away what is left of those that nobody keeps');
  addFolders(command).action(tunnels);
}

async function tunnels({ json, clean: cleans, ...options }: Options): Promise<void> {
  const { clean, cleanRules, countOrphanedRules, listTunnels } = await import('../../tunnel/client/remains.ts');
  const folders = foldersGiven(options);
  const found = listTunnels(folders);
  if (!cleans) {
    // most machines have none of those
    const hasNamespaces = found.some(({ namespace }) => namespace !== undefined);
    const rows = found.map(({ name, owner, hasLink, hasKillSwitch, namespace, peers }) => {
      const state = owner === undefined ? 'left' : 'kept';
      const row = [name, state, String(owner?.pid ?? '-'), hasLink ? 'yes' : 'no', hasKillSwitch ? 'yes' : 'no'];
      return [...row, ...(hasNamespaces ? [namespace ?? '-'] : []), ...peerText(peers)];
    });
    if (json) printJson(found.map(({ peers, ...one }) => ({ ...one, ...(peers && { peers: peers.map(peerFields) }) })));
    else {
      const head = ['TUNNEL', 'STATE', 'PID', 'LINK', 'KILL SWITCH', ...(hasNamespaces ? ['NAMESPACE'] : [])];
      printTable([...head, 'PEER', 'HANDSHAKE', 'RECEIVED', 'SENT'], rows);
    }
    const rules = countOrphanedRules();
    if (rules > 0 && !json) print(`rules of tunnels that are gone: ${rules}`);
    return;
  }
  const left = found.filter(({ owner }) => owner === undefined);
  const swept = left.map(({ name }) => ({ name, ...clean(name, folders) }));
  const rules = cleanRules();
  const failed = swept.flatMap((one) => one.failed);
  if (json) printJson({ cleaned: swept.map(({ name, done }) => ({ name, done })), rules });
  else for (const { name, done } of swept) print([`${name}:`, ...done.map((line) => `  ${line}`)].join('\n'));
  if (!json && rules.length > 0) print(rules.join('\n'));
  if (failed.length > 0) {
    const why = failed.map(({ message }) => message).join('; ');
    throw new CulvertError('tunnel_left', `Cannot take everything away: ${why}`);
  }
}

/** Of the peer that was heard last, and how many others there are. */
function peerText(peers: readonly ShownPeer[] = []): string[] {
  const [peer, ...others] = peers;
  if (peer === undefined) return ['-', '-', '-', '-'];
  const { endpoint, lastHandshakeMs, received, sent } = peer;
  const where = endpoint === undefined ? 'no endpoint' : formatEndpoint(endpoint);
  const ago =
    lastHandshakeMs === 0 ? 'never' : `${Math.max(0, Math.round((Date.now() - lastHandshakeMs) / 1000))} s ago`;
  const more = others.length === 0 ? '' : ` +${others.length}`;
  return [`${where}${more}`, ago, roundedBytes(received), roundedBytes(sent)];
}

function peerFields({ endpoint, allowedIps, ...peer }: ShownPeer): object {
  return {
    ...peer,
    ...(endpoint === undefined ? {} : { endpoint: formatEndpoint(endpoint) }),
    allowedIps: allowedIps.map(formatIpPrefix),
  };
}
