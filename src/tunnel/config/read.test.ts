import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatIp } from '../../addr/ip.ts';
import { formatIpPrefix } from '../../addr/ip-prefix.ts';
import { InputError } from '../../errors.ts';
import { readTunnelConfig } from './read.ts';
import { readRouteTables } from './route-tables.ts';
import { QuickStage } from './testing/quick-stage.ts';

/** The examples of wg(8). */
const PRIVATE = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const OWN_PUBLIC = 'HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=';
const FIRST = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const SECOND = 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=';
const PSK = '/UwcSPg38hW/D9Y3tcS1FOV0K1wuURMbS0sesJEP5ak=';

/** Lines 1 and 2, so that what follows begins at line 3. */
const OWN = `[Interface]\nPrivateKey = ${PRIVATE}\n`;
/** And lines 3 and 4. */
const PEER = `${OWN}[Peer]\nPublicKey = ${FIRST}\n`;

function failure(text: string): string {
  try {
    readTunnelConfig(text);
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).code).toBe('tunnel_config');
    return (error as InputError).message;
  }
  return 'it was read';
}

it('reads the private key as a device takes it', () => {
  const unclamped = Buffer.alloc(32, 0xff);
  const { privateKey } = readTunnelConfig(`[Interface]\nPrivateKey = ${unclamped.toString('base64')}`);
  expect(Buffer.from(privateKey, 'base64').toString('hex')).toBe(`f8${'ff'.repeat(30)}7f`);
});

it('passes over a byte order mark', () => {
  expect(readTunnelConfig(`\u{feff}${PEER}`).peers).toHaveLength(1);
});

it('knows where each peer begins', () => {
  const text = `# two\n${PEER}\n\n[Peer]\nPublicKey = ${SECOND}\n[Peer]\nPublicKey = ${FIRST}\n`;
  expect(readTunnelConfig(text).peers.map(({ publicKey, line }) => [publicKey, line])).toEqual([
    [FIRST, 4],
    [SECOND, 8],
  ]);
});

it.each([
  ['AllowedIPs = +10.0.0.0/8, +10.1.0.0/16', ['10.0.0.0/8', '10.1.0.0/16']],
  ['AllowedIPs = 10.0.0.0/8, 10.1.0.0/16\nAllowedIPs = -10.1.0.0/16', ['10.0.0.0/8']],
  ['AllowedIPs = 10.0.0.0/8, -10.0.0.0/8', []],
  [`AllowedIPs = 10.0.0.0/8\n[Peer]\nPublicKey = ${FIRST}\nAllowedIPs = +10.1.0.0/16`, ['10.0.0.0/8', '10.1.0.0/16']],
  [`AllowedIPs = 10.0.0.0/8\n[Peer]\nPublicKey = ${FIRST}\nAllowedIPs = 10.1.0.0/16`, ['10.1.0.0/16']],
  [`AllowedIPs = 10.0.0.0/8\n[Peer]\nPublicKey = ${FIRST}`, []],
])('takes %j as newer wg(8) does', (lines, allowed) => {
  expect(readTunnelConfig(PEER + lines).peers[0]?.allowedIps.map(formatIpPrefix)).toEqual(allowed);
});

it('takes a pre-shared key from a peer whose later section has one of zeros', () => {
  const text = `${PEER}PresharedKey = ${PSK}\n[Peer]\nPublicKey = ${FIRST}\n`;
  expect(readTunnelConfig(text).peers[0]).toHaveProperty('presharedKey', PSK);
  expect(readTunnelConfig(`${text}PresharedKey = ${'A'.repeat(43)}=`).peers[0]).not.toHaveProperty('presharedKey');
});

it.each([
  ['vpn.example.com:51820', 'vpn.example.com', 51_820],
  ['VPN_1.example.:1', 'VPN_1.example.', 1],
  ['[2001:DB8:0:0::1]:65535', '2001:db8::1', 65_535],
  ['[fe80::1%eth0.5]:51820', 'fe80::1%eth0.5', 51_820],
  ['[vpn.example.com]:51820', 'vpn.example.com', 51_820],
  ['2001:db8::1:51820', '2001:db8::1', 51_820],
])('reads the endpoint %s', (text, host, port) => {
  expect(readTunnelConfig(`${PEER}Endpoint = ${text}`).peers[0]?.endpoint).toEqual({ host, port });
});

it('takes for a DNS server what looks like one, and the rest for domains', () => {
  const { dns } = readTunnelConfig(`${OWN}DNS = 1.1.1.1, corp.example ::1\nDNS = lab`);
  expect(dns.servers.map(formatIp)).toEqual(['1.1.1.1', '::1']);
  expect(dns.search).toEqual(['corp.example', 'lab']);
});

it('knows the tables of the machine by name', () => {
  const tables = readRouteTables('#\n255\tlocal\n 0x64  office # of work\nnonsense\n7\n\n');
  expect(readTunnelConfig(`${OWN}Table = office`, tables).table).toBe(100);
  expect(readTunnelConfig(`${OWN}Table = main`, tables).table).toBe(254);
  expect(readTunnelConfig(`${OWN}Table = 0`).table).toBe(254);
  expect(failure(`${OWN}Table = office`)).toBe(
    'Cannot read line 3: "office" is no routing table here; want auto, off or 1 to 4294967295',
  );
});

describe('of what is wrong', () => {
  const interfaceKeys =
    'PrivateKey, ListenPort, FwMark, Address, DNS, MTU, Table, PreUp, PostUp, PreDown, PostDown, SaveConfig';
  const peerKeys = 'PublicKey, PresharedKey, AllowedIPs, Endpoint, PersistentKeepalive';

  it.each([
    ['', 'Cannot read the config: it has no [Interface]; want one with a PrivateKey'],
    ['\n# nothing\n', 'Cannot read the config: it has no [Interface]; want one with a PrivateKey'],
    [`[Peer]\nPublicKey = ${FIRST}`, 'Cannot read the config: it has no [Interface]; want one with a PrivateKey'],
    ['\n[Interface]\n', 'Cannot read line 2: [Interface] has no PrivateKey; give it one, of wg genkey'],
    [`${OWN}\n[Peer]\n`, 'Cannot read line 4: this [Peer] has no PublicKey; give it one'],
    [`PrivateKey = ${PRIVATE}\n${OWN}`, 'Cannot read line 1: it stands before any section; put [Interface] above it'],
    [`${OWN}[Peers]`, 'Cannot read line 3: "[Peers]" is no section; want [Interface] or [Peer]'],
    [`${OWN}Jc = 4`, `Cannot read line 3: "Jc" is no key of [Interface]; want one of ${interfaceKeys}`],
    [`${PEER}Public = 4`, `Cannot read line 5: "Public" is no key of [Peer]; want one of ${peerKeys}`],
    [
      `${OWN}Private_Key_Of_The_Link = ${PRIVATE}`,
      `Cannot read line 3: what stands before the = is no key of [Interface]; want one of ${interfaceKeys}`,
    ],
    [`${OWN}Post Up = true`, `Cannot read line 3: "Post Up" is no key of [Interface]; want one of ${interfaceKeys}`],
    [`${PEER}MTU = 1400`, 'Cannot read line 5: MTU belongs in [Interface], and this is [Peer]'],
    [`${OWN}endpoint = a:1`, 'Cannot read line 3: Endpoint belongs in [Peer], and this is [Interface]'],
    [
      `${OWN}${PRIVATE.slice(0, -1)}`,
      'Cannot read line 3: it is no section, and no key with its value; want KEY = VALUE',
    ],
    [`${PEER}AllowedIPs =`, 'Cannot read line 5: AllowedIPs has no value; give it one, or take the line out'],
    [
      `${OWN}MTU = 14\0`,
      'Cannot read line 3: it has a NUL character, so that this is no text; write the file anew as UTF-8',
    ],
    [`${OWN}# \0`, 'Cannot read line 3: it has a NUL character, so that this is no text; write the file anew as UTF-8'],
    [`${OWN}PostUp = \u{1b}[2J`, String.raw`Cannot read line 3: it has the control character "\u{1b}"; take it out`],
    [`[Interface]\rPrivateKey = x`, String.raw`Cannot read line 1: it has the control character "\u{d}"; take it out`],
    [
      `[Interface]\n\u{a0}PrivateKey = ${PRIVATE}`,
      String.raw`Cannot read line 2: "\u{a0}PrivateKey" is no key of [Interface]; want one of ` + interfaceKeys,
    ],
    [
      `[Interface]\nPrivateKey = ${PRIVATE.slice(1)}`,
      'Cannot read line 2: its key has 43 characters, want 44; copy it whole, up to the = at its end',
    ],
    [
      `[Interface]\nPrivateKey = ${PRIVATE.replace('k=', 'l=')}`,
      'Cannot read line 2: its key has 44 characters, which are not 32 bytes in base64; copy it whole, up to the = at its end',
    ],
    [
      `[Interface]\nPrivateKey = ${PRIVATE.replace('+', '-')}`,
      'Cannot read line 2: its key has 44 characters, which are not 32 bytes in base64; copy it whole, up to the = at its end',
    ],
    [
      `[Interface]\nPrivateKey = ${'A'.repeat(43)}=`,
      'Cannot read line 2: the PrivateKey is all zeros; make one with wg genkey',
    ],
    [
      `${OWN}[Peer]\nPublicKey = ${'A'.repeat(43)}=`,
      "Cannot read line 4: the PublicKey is all zeros; want the other side's, of wg pubkey",
    ],
    [
      `${OWN}[Peer]\nPublicKey = ${OWN_PUBLIC}`,
      "Cannot read line 3: this [Peer] has the public key of [Interface] itself; want the other side's",
    ],
    [`${OWN}ListenPort = 65536`, 'Cannot read line 3: "65536" is no port; want 0 to 65535, 0 for any'],
    [`${OWN}ListenPort = domain`, 'Cannot read line 3: "domain" is no port; want 0 to 65535, 0 for any'],
    [
      `${OWN}ListenPort = ${PRIVATE}`,
      'Cannot read line 3: what stands there (not shown, it may be a key) is no port; want 0 to 65535, 0 for any',
    ],
    [`${OWN}FwMark = 0x100000000`, 'Cannot read line 3: "0x100000000" is no mark; want off, or up to 0xffffffff'],
    [`${OWN}FwMark = 0X1`, 'Cannot read line 3: "0X1" is no mark; want off, or up to 0xffffffff'],
    [`${OWN}FwMark = -1`, 'Cannot read line 3: "-1" is no mark; want off, or up to 0xffffffff'],
    [
      `${OWN}Address = 10.0.0.300/24`,
      'Cannot read line 3: "10.0.0.300/24" is no address; want one such as 10.0.0.2/24 or fd00::2/64',
    ],
    [
      `${OWN}Address = 10.0.0.1/33`,
      'Cannot read line 3: "10.0.0.1/33" is no address; want one such as 10.0.0.2/24 or fd00::2/64',
    ],
    [`${OWN}Address = 224.0.0.1/24`, 'Cannot read line 3: 224.0.0.1 is not an address that an interface may have'],
    [
      `${OWN}Address = 10.0.0.1/24\nAddress = 10.0.0.1/24`,
      'Cannot read line 4: 10.0.0.1/24 is an address in line 3 already',
    ],
    [`${OWN}Address = fd00::1/64, fd00:0::1/48`, 'Cannot read line 3: fd00::1/48 is an address in line 3 already'],
    [`${OWN}DNS = 1.1.1`, 'Cannot read line 3: "1.1.1" is no address of a DNS server'],
    [`${OWN}DNS = fe80::1%eth0`, 'Cannot read line 3: "fe80::1%eth0" is no address of a DNS server, without a zone'],
    [
      `${OWN}DNS = ex_ample..com`,
      'Cannot read line 3: "ex_ample..com" is no domain to search in, and no address of a DNS server',
    ],
    [`${OWN}MTU = big`, 'Cannot read line 3: "big" is no MTU; want a number of bytes'],
    [
      `${OWN}MTU = 0`,
      'Cannot read line 3: an MTU of 0 is less than IPv4 works with; want at least 576, or none to have it found',
    ],
    [`${OWN}MTU = 65536`, 'Cannot read line 3: an MTU of 65536 is more than a packet may have; want at most 65535'],
    [
      `${OWN}MTU = 1279\nAddress = 10.0.0.1/24, fd00::1/64`,
      'Cannot read line 3: with an MTU of 1279 a link has no IPv6, which fd00::1/64 needs; want at least 1280',
    ],
    [
      `${OWN}Table = 4294967296`,
      'Cannot read line 3: "4294967296" is no routing table here; want auto, off or 1 to 4294967295',
    ],
    [`${OWN}SaveConfig = yes`, 'Cannot read line 3: "yes" is neither true nor false'],
    [`${OWN}SaveConfig =`, 'Cannot read line 3: "" is neither true nor false'],
    [
      `${OWN}PostUp = ${'x'.repeat(16_385)}`,
      'Cannot read line 3: its command has 16385 characters, want at most 16384',
    ],
    [
      `${PEER}AllowedIPs = 10.0.0.0/8,`,
      'Cannot read line 5: it has nothing between two commas, or after the last one; take that comma out',
    ],
    [
      `${PEER}AllowedIPs = 10.0.0/8`,
      'Cannot read line 5: "10.0.0/8" is no network; want one such as 10.0.0.0/8 or fd00::/64',
    ],
    [
      `${PEER}AllowedIPs = ::/129`,
      'Cannot read line 5: "::/129" is no network; want one such as 10.0.0.0/8 or fd00::/64',
    ],
    [
      `${PEER}AllowedIPs = 10.1.0.0/16, 10.0.0.0/8\n[Peer]\nPublicKey = ${SECOND}\nAllowedIPs = fd00::/8\nAllowedIPs = 10.9.9.9/8`,
      'Cannot read line 9: 10.0.0.0/8 is allowed to another peer in line 5 already, and only one may have it; take it from one',
    ],
    [
      `${PEER}PersistentKeepalive = 65536`,
      'Cannot read line 5: "65536" is no keepalive; want off, or 1 to 65535 seconds',
    ],
    [
      `${PEER}Endpoint = a.example`,
      'Cannot read line 5: "a.example" has no port; want an endpoint such as vpn.example.com:51820 or [2001:db8::1]:51820',
    ],
    [`${PEER}Endpoint = a.example:0`, 'Cannot read line 5: "0" is no port of an endpoint; want 1 to 65535'],
    [`${PEER}Endpoint = a.example:https`, 'Cannot read line 5: "https" is no port of an endpoint; want 1 to 65535'],
    [`${PEER}Endpoint = :1`, 'Cannot read line 5: "" is no host of an endpoint; want its name or its address'],
    [
      `${PEER}Endpoint = 10.1:1`,
      'Cannot read line 5: "10.1" is no IPv4 address of an endpoint; want four octets, 0 to 255',
    ],
    [
      `${PEER}Endpoint = a.0x7f:1`,
      'Cannot read line 5: "a.0x7f" is no IPv4 address of an endpoint; want four octets, 0 to 255',
    ],
    [
      `${PEER}Endpoint = 2001:db8::1`,
      'Cannot read line 5: "2001:db8:" is no IPv6 address of an endpoint; want [2001:db8::1]:51820',
    ],
    [
      `${PEER}Endpoint = [2001:db8::1%eth0]:1`,
      'Cannot read line 5: "2001:db8::1%eth0" has a zone, which only a link-local address has',
    ],
    [
      `${PEER}Endpoint = [fe80::1%a/b]:1`,
      'Cannot read line 5: "a/b" is no zone of an address; want the name of a link',
    ],
  ])('%j it says where it is and what to do', (text, message) => {
    expect(failure(text)).toBe(message);
  });

  it('has more than anybody needs of nothing', () => {
    const many = (count: number, line: (index: number) => string): string =>
      Array.from({ length: count }, (_, index) => line(index)).join('\n');
    const numbered = (index: number): string => {
      const bytes = Buffer.alloc(32);
      bytes.writeUInt32BE(index + 1);
      return bytes.toString('base64');
    };
    expect(failure('#'.repeat(1_048_577))).toBe('Cannot read the config: it has 1048577 bytes, want at most 1048576');
    expect(failure('\n'.repeat(50_000))).toBe('Cannot read the config: it has 50001 lines, want at most 50000');
    expect(failure(OWN + many(1001, (index) => `[Peer]\nPublicKey = ${numbered(index)}`))).toBe(
      'Cannot read line 2003: there are more than 1000 peers',
    );
    expect(failure(PEER + many(16_385, (index) => `AllowedIPs = 10.1.${index >> 8}.${index & 255}`))).toBe(
      'Cannot read the config: its peers have 16385 allowed IPs, want at most 16384',
    );
    expect(failure(OWN + many(65, () => 'PostUp = true'))).toBe(
      'Cannot read line 67: there are more than 64 such commands',
    );
    expect(failure(OWN + many(65, () => 'DNS = a'))).toBe(
      'Cannot read line 67: there are more than 64 DNS servers and domains',
    );
    expect(failure(OWN + many(257, (index) => `Address = 10.1.${index}.1/31`))).toMatch(/^Cannot read line 259: /);
  });
});

describe('where it differs from wg(8)', () => {
  let stage: QuickStage;
  let folder: string;
  beforeAll(() => {
    stage = new QuickStage();
    folder = mkdtempSync(join(tmpdir(), 'culvert-differences-'));
  });
  afterAll(() => {
    stage[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });

  /** Whether wg(8) reads what wg-quick(8) leaves of it; there is no device to tell. */
  function isReadByWg(text: string): boolean {
    const path = join(folder, 'sample.conf');
    writeFileSync(path, text);
    const stripped = join(folder, 'stripped');
    writeFileSync(stripped, stage.strip({ name: 'sample', path, text }));
    const { stderr } = spawnSync('wg', ['setconf', 'no-such-link', stripped], { encoding: 'utf8' });
    return !/Configuration parsing error|Invalid configuration/.test(stderr);
  }

  it.each([
    ['no private key', '[Interface]\nListenPort = 5'],
    ['no interface', ''],
    ['its own public key', `${OWN}[Peer]\nPublicKey = ${OWN_PUBLIC}`],
    ['a private key of zeros', `[Interface]\nPrivateKey = ${'A'.repeat(43)}=`],
    ['one allowed IP of two peers', `${PEER}AllowedIPs = ::/0\n[Peer]\nPublicKey = ${SECOND}\nAllowedIPs = ::/0`],
    ['a port that is none', `${OWN}ListenPort = 65536`],
    ['a service for a port', `${OWN}ListenPort = domain`],
    ['port 0 of an endpoint', `${PEER}Endpoint = 192.0.2.1:0`],
    ['an address of two numbers', `${PEER}Endpoint = 10.1:5`],
    ['an address in octal', `${PEER}Endpoint = 010.0.0.1:5`],
    ['zeros before a number', `${OWN}FwMark = 010`],
    ['zeros before a length', `${PEER}AllowedIPs = 10.0.0.0/08`],
    ['a vertical tab', `${OWN}\vListenPort = 5`],
  ])('refuses %s', (_, text) => {
    expect(failure(text)).toMatch(/^Cannot read /);
    expect(isReadByWg(text)).toBe(true);
  });

  it.each([
    ['a byte order mark', `\u{feff}${OWN}`],
    ['a sign before an allowed IP, as newer ones do', `${PEER}AllowedIPs = +10.0.0.0/8`],
    [
      'blanks in a section that has what wg-quick(8) adds',
      `[ Interface ]\nAddress = 10.0.0.1/24\nPrivateKey = ${PRIVATE}`,
    ],
  ])('takes %s', (_, text) => {
    expect(failure(text)).toBe('it was read');
    expect(isReadByWg(text)).toBe(false);
  });

  it.each([
    `${PEER}AllowedIPs =`,
    `${PEER}AllowedIPs = 10.0.0.0/8,`,
    `${PEER}AllowedIPs = ,10.0.0.0/8`,
    `${PEER}AllowedIPs = 10.0.0.0/`,
    `${PEER}AllowedIPs = fe80::1%lo/128`,
    `${PEER}Endpoint = :51820`,
    `${PEER}Endpoint = []:51820`,
    `${PEER}Endpoint = [::1]51820`,
    `${PEER}Endpoint = [::1]]:51820`,
    `${PEER}Endpoint = 192.0.2.1`,
    `${PEER}PersistentKeepalive = 65536`,
    `${OWN}FwMark = 0X10`,
    `${OWN}FwMark = 0x`,
    `${OWN}FwMark = 0x100000000`,
    `${OWN}ListenPort = -1`,
    `${OWN}ListenPort =`,
    `${OWN}AllowedIPs = ::/0`,
    `${OWN}Post Up = true`,
    `${OWN}[Foo]`,
    `${OWN}[Interface]=x`,
    `${OWN}PrivateKey`,
    `${OWN}[Peer]`,
    `${PEER}DNS = 1.1.1.1`,
    `PrivateKey = ${PRIVATE}`,
    `[Interface]\nPrivateKey = ${PRIVATE.slice(1)}`,
    `[Interface]\nPrivateKey = ${PRIVATE.replace('k=', 'l=')}`,
    `[Interface]\rPrivateKey = ${PRIVATE}`,
  ])('does not in that %j is refused', (text) => {
    expect(failure(text)).toMatch(/^Cannot read /);
    expect(isReadByWg(text)).toBe(false);
  });
});
