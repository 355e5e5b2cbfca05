import { describe, expect, it } from 'vitest';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parsePrefix } from '../../addr/prefix.ts';
import { diff } from '../../plan/diff.ts';
import { rulesetText } from '../../plan/ruleset-text.ts';
import { objectKey } from '../../plan/state.ts';
import { planText } from '../../plan/text.ts';
import { clearObjects, wrappedPeer } from './objects.ts';
import type { ClearOptions } from './options.ts';
import type { ClearPeer } from './peer.ts';
import { clearRuleset, peerElements } from './ruleset.ts';

const options: ClearOptions = {
  instance: 'main',
  subnet: parsePrefix('10.64.16.0/20'),
  range: parsePrefix('10.64.0.0/10'),
  unit: 20,
  port: 51_830,
  mtu: 1420,
  uplink: 'eth0',
};
const { uplink: _, ...withoutUplink } = options;

const peer: ClearPeer = {
  name: 'h2',
  subnet: parsePrefix('10.64.32.0/19'),
  endpoint: { address: parseIpv4('192.0.2.12'), port: 51_830 },
  onLink: true,
};

describe.each([
  ['uplink', options],
  ['no-uplink', withoutUplink],
])('with %s', (name, given) => {
  it('the rules read as written down', async () => {
    const ruleset = { ...clearRuleset(given), elements: peerElements(given, peer) };
    await expect(`${rulesetText(ruleset)}\n`).toMatchFileSnapshot(`./golden/rules-${name}.txt`);
  });

  it('the objects are made as written down, and no two are one', async () => {
    const objects = [...clearObjects(given), ...wrappedPeer(given, peer)];
    await expect(`${planText(diff([], objects))}\n`).toMatchFileSnapshot(`./golden/objects-${name}.txt`);
    expect(new Set(objects.map(objectKey)).size).toBe(objects.length);
  });
});
