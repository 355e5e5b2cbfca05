import { publicKeyOf } from '../../plan/wireguard/private-key.ts';
import type { TunnelConfig } from './config.ts';
import { type InterfaceSection, newInterfaceSection } from './interface-section.ts';
import { readInterfaceKey, readPeerKey } from './keys.ts';
import { readLines, type Setting } from './lines.ts';
import { newPeerSection, type PeerSection, peersOf } from './peer-section.ts';
import { atLine, refuse, refuseLine } from './refusal.ts';
import { ROUTE_TABLES, readTable } from './route-tables.ts';
import { mtuFault } from './values.ts';

/**
 * Reads a wg-quick file whole, as wg-quick(8) and wg(8) would, and refuses besides what they would take for something else
 * than was meant.
 *
 * @param tables the routing tables that have a name on this machine
 * @throws InputError `tunnel_config`, with the line that is wrong; it shows no private key and no pre-shared one
 */
export function readTunnelConfig(text: string, tables: ReadonlyMap<string, number> = ROUTE_TABLES): TunnelConfig {
  let own: InterfaceSection | undefined;
  const peers: PeerSection[] = [];
  let read: (setting: Setting) => void = () => refuse('it stands before any section; put [Interface] above it');
  for (const statement of readLines(text)) {
    if (!('section' in statement)) atLine(statement.line, () => read(statement));
    else if (statement.section === 'Interface') {
      // there may be several, which say all they say of the one link
      const section = (own ??= newInterfaceSection(statement.line));
      read = (setting) => readInterfaceKey(section, setting);
    } else {
      const section = newPeerSection(statement.line);
      peers.push(section);
      read = (setting) => readPeerKey(section, setting);
    }
  }
  return own === undefined
    ? refuse('Cannot read the config: it has no [Interface]; want one with a PrivateKey')
    : configOf(own, peersOf(peers), tables);
}

function configOf(
  own: InterfaceSection,
  peers: TunnelConfig['peers'],
  tables: ReadonlyMap<string, number>,
): TunnelConfig {
  const { line, privateKey, listenPort, fwMark, dns, mtu, table, hooks, saveConfig } = own;
  if (privateKey === undefined) refuseLine(line, '[Interface] has no PrivateKey; give it one, of wg genkey');
  const publicKey = publicKeyOf(privateKey);
  const self = peers.find((peer) => peer.publicKey === publicKey);
  if (self !== undefined) {
    refuseLine(self.line, "this [Peer] has the public key of [Interface] itself; want the other side's");
  }
  const addresses = own.addresses.map(({ address }) => address);
  const fault = mtu?.bytes === undefined ? undefined : mtuFault(mtu.bytes, addresses);
  if (mtu !== undefined && fault !== undefined) refuseLine(mtu.line, fault);
  return {
    privateKey,
    ...(listenPort === undefined ? {} : { listenPort }),
    ...(fwMark === undefined ? {} : { fwMark }),
    addresses,
    dns,
    ...(mtu?.bytes === undefined ? {} : { mtu: mtu.bytes }),
    table: table === undefined ? 'auto' : atLine(table.line, () => readTable(table.text, tables)),
    hooks,
    saveConfig,
    peers,
  };
}
