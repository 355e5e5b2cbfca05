import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LabNamespace } from '../../../lab/namespace.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { parseMac } from '../../addr/mac.ts';
import { parsePrefix } from '../../addr/prefix.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { addRuleset, replaceRuleset } from '../../linux/nftables/ruleset.ts';
import { instructions, LIST } from '../../linux/nftables/testing/instructions.ts';
import { ruleText } from '../../plan/rule-text.ts';
import type { Rule, Ruleset } from '../../plan/ruleset.ts';
import { rulesetText } from '../../plan/ruleset-text.ts';
import { compilePolicy } from '../policy/compile.ts';
import { bridgeRuleset } from './bridge.ts';
import { attachmentElements, hostAccessElement, markOf, policyRuleset, portElements } from './elements.ts';
import { BRIDGE_TABLE, HOST_ACCESS, ROUTER_TABLE } from './names.ts';
import { rootRuleset } from './root.ts';
import { routerRuleset } from './router.ts';

const reportGroup = 7;
const ranges = [parsePrefix('10.11.0.0/16'), parsePrefix('10.8.64.0/24')];
const internet = compilePolicy({ egress: 'internet', allow: [parsePrefix('10.0.0.0/8')], deny: [] }, ranges);
const comment = 'a1 generation 3';

const attachment: Ruleset = {
  table: ROUTER_TABLE,
  sets: [],
  chains: [],
  elements: attachmentElements({
    index: 10_001,
    wireAddress: parseIpv4('169.254.0.21'),
    hostAddress: parseIpv4('10.11.0.1'),
    policy: 5,
    comment,
  }),
};

const rulesets: [string, Ruleset][] = [
  [
    'router',
    routerRuleset({
      probePort: 51_840,
      uplink: 'uplink',
      reportGroup,
      maxFlows: 8192,
      resolver: parseIpv4('10.12.0.1'),
      host: parseIpv4('10.11.0.0'),
      cluster: parsePrefix('10.64.0.0/10'),
    }),
  ],
  ['bridge', bridgeRuleset({ gateway: parseIpv4('10.8.64.1'), reportGroup })],
  ['root', rootRuleset({ instance: 'default', cable: 'culvert0', ranges, reportGroup, inbound: ['docker0'] })],
  ['policy', policyRuleset(5, internet, 'internet +10.0.0.0/8')],
  ['policy-via', policyRuleset(markOf(5, 3), internet, 'internet +10.0.0.0/8 via 3')],
  ['attachment', attachment],
  [
    'port',
    {
      ...attachment,
      table: BRIDGE_TABLE,
      elements: [portElements(10_003, parseMac('02:cb:0a:08:40:03'), parseIpv4('10.8.64.3'), comment)],
    },
  ],
  [
    'host-access',
    {
      ...attachment,
      table: { family: 'inet', name: 'culvert-default' },
      elements: [
        {
          set: HOST_ACCESS,
          elements: [hostAccessElement(parseIpv4('10.11.0.1'), parseIpv4('192.0.2.2'), comment)],
        },
      ],
    },
  ],
];

it.each(rulesets)('%s reads as written down', async (name, ruleset) => {
  await expect(`${rulesetText(ruleset)}\n`).toMatchFileSnapshot(`./golden/${name}.txt`);
});

/*
 * The text and what is sent to the kernel say the same: nft(8) reads the text in one namespace, the codec writes the
 * rulesets in another, and nft(8) lists both as the instructions of the kernel.
 */
describe('the text, read by nft', () => {
  let byText: LabNamespace;
  let byCodec: LabNamespace;

  beforeAll(async () => {
    [byText, byCodec] = await Promise.all([LabNamespace.make(), LabNamespace.make()]);
  });

  afterAll(async () => {
    await Promise.all([byText.close(), byCodec.close()]);
  });

  it('makes what the codec makes', () => {
    const sayable = rulesets.map(([, ruleset]) => withoutUnsayable(ruleset));
    const lines = sayable.flatMap((ruleset) => rulesetText(ruleset).split('\n'));
    byText.feed(lines.map((line) => line.replace(/^nft /, '')).join('\n'), 'nft', '-f', '-');
    using netfilter = byCodec.netfilter();
    const isWhole = ({ chains }: Ruleset): boolean => chains.some(({ base }) => base !== undefined);
    applyTransaction(
      netfilter,
      sayable.flatMap((ruleset) => (isWhole(ruleset) ? replaceRuleset(ruleset) : addRuleset(ruleset))),
    );
    const listed = instructions(byCodec.run('nft', ...LIST));
    expect(listed.join('\n').match(/^ {2}\[/gm)?.length).toBeGreaterThan(100);
    expect(instructions(byText.run('nft', ...LIST))).toEqual(listed);
  });
});

/** nft(8) has no words for the parts of a map's data, and no type for what an ICMP error quotes; see the frames. */
function withoutUnsayable(ruleset: Ruleset): Ruleset {
  const sets = new Map(ruleset.sets.map((set) => [set.name, set]));
  const isSayable = (rule: Rule): boolean => !/ map @|@th,/.test(ruleText(rule, sets));
  return { ...ruleset, chains: ruleset.chains.map((chain) => ({ ...chain, rules: chain.rules.filter(isSayable) })) };
}
