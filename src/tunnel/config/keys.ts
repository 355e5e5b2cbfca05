import { readEndpoint } from './endpoint.ts';
import { addDns, addHook, type InterfaceSection, readAddresses } from './interface-section.ts';
import { type Setting, tight } from './lines.ts';
import { type PeerSection, readAllowedIps } from './peer-section.ts';
import { refuse, shown } from './refusal.ts';
import {
  readBoolean,
  readFwMark,
  readKeepalive,
  readListenPort,
  readMtu,
  readPresharedKey,
  readPrivateKey,
  readPublicKey,
} from './values.ts';

type Reader<Section> = (section: Section, value: string, line: number) => void;

/** As people write them; they are read in any case. */
type Readers<Section> = Readonly<Record<string, Reader<Section>>>;

/** What goes to the device, and is wg(8)'s: blanks in it mean nothing, and it has a value. */
const DEVICE_KEYS: Readers<InterfaceSection> = {
  PrivateKey: (section, value) => (section.privateKey = readPrivateKey(value)),
  ListenPort: (section, value) => (section.listenPort = readListenPort(value)),
  FwMark: (section, value) => (section.fwMark = readFwMark(value)),
};
const PEER_KEYS: Readers<PeerSection> = {
  PublicKey: (section, value) => (section.publicKey = readPublicKey(value)),
  PresharedKey: (section, value) => (section.presharedKey = readPresharedKey(value) ?? 'none'),
  AllowedIPs: readAllowedIps,
  Endpoint: (section, value) => (section.endpoint = readEndpoint(value)),
  PersistentKeepalive: (section, value) => (section.keepalive_s = readKeepalive(value)),
};
/** What wg-quick(8) adds. */
const LINK_KEYS: Readers<InterfaceSection> = {
  Address: readAddresses,
  DNS: addDns,
  MTU: (section, value, line) => (section.mtu = { bytes: readMtu(value), line }),
  Table: (section, text, line) => (section.table = { text, line }),
  PreUp: (section, value) => addHook(section, 'preUp', value),
  PostUp: (section, value) => addHook(section, 'postUp', value),
  PreDown: (section, value) => addHook(section, 'preDown', value),
  PostDown: (section, value) => addHook(section, 'postDown', value),
  SaveConfig: (section, value) => (section.saveConfig = readBoolean(value)),
};
const INTERFACE_KEYS = { ...DEVICE_KEYS, ...LINK_KEYS };

/** @throws InputError `tunnel_config` */
export function readInterfaceKey(section: InterfaceSection, setting: Setting): void {
  const read = readerOf(LINK_KEYS, setting.key);
  if (read !== undefined) read(section, setting.value, setting.line);
  else readDeviceKey(DEVICE_KEYS, section, setting, 'Interface');
}

/** @throws InputError `tunnel_config` */
export function readPeerKey(section: PeerSection, setting: Setting): void {
  readDeviceKey(PEER_KEYS, section, setting, 'Peer');
}

function readDeviceKey<Section>(
  readers: Readers<Section>,
  section: Section,
  { key, value, line }: Setting,
  name: 'Interface' | 'Peer',
): void {
  const read = readerOf(readers, tight(key));
  if (read === undefined) refuse(strayKey(key, value, name));
  if (value === '') refuse(`${key} has no value; give it one, or take the line out`);
  read(section, tight(value), line);
}

function readerOf<Section>(readers: Readers<Section>, key: string): Reader<Section> | undefined {
  const name = Object.keys(readers).find((one) => one.toLowerCase() === key.toLowerCase());
  return name === undefined ? undefined : readers[name];
}

function strayKey(key: string, value: string, section: 'Interface' | 'Peer'): string {
  const [other, others] = section === 'Peer' ? ['Interface', INTERFACE_KEYS] : ['Peer', PEER_KEYS];
  const stray = Object.keys(others).find((name) => name.toLowerCase() === tight(key).toLowerCase());
  if (stray !== undefined) return `${stray} belongs in [${other}], and this is [${section}]`;
  const known = Object.keys(section === 'Peer' ? PEER_KEYS : INTERFACE_KEYS).join(', ');
  // the end of a private key that was wrapped stands before a = and nothing
  const name = key.length < 20 && value !== '' ? shown(key) : 'what stands before the =';
  return `${name} is no key of [${section}]; want one of ${known}`;
}
