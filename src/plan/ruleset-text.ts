import { formatIpv4, type Ipv4 } from '../addr/ipv4.ts';
import { formatIpv6 } from '../addr/ipv6.ts';
import { formatMac } from '../addr/mac.ts';
import { PROTOCOLS, ruleText, verdictText } from './rule-text.ts';
import type { Chain, Element, FieldType, NamedSet, Ruleset, Table, Value, Verdict } from './ruleset.ts';

/**
 * A ruleset as a person reads it: a line per object, in the words of nft(8), which takes each as it stands but for
 * rules that use the parts of a map's data one by one: it has no words for those.
 */
export function rulesetText(ruleset: Ruleset): string {
  const { table, sets, chains, elements } = ruleset;
  const byName = new Map(sets.map((set) => [set.name, set]));
  return [
    `nft add table ${tableWords(table)}`,
    ...sets.map((set) => setText(table, set)),
    ...chains.map((chain) => chainText(table, chain)),
    ...elements.flatMap(({ set, elements: members }) =>
      members.map((element) => elementText(table, set, element, 'add')),
    ),
    ...chains.flatMap(({ name, rules }) =>
      rules.map((rule) => `nft add rule ${tableWords(table)} ${name} ${ruleText(rule, byName)}`),
    ),
  ].join('\n');
}

/** One element, put in or taken out. */
export function elementText(table: Table, set: NamedSet, element: Element, verb: 'add' | 'delete'): string {
  const { key, last, data, over, comment } = element;
  const words = [set.key.map((type, index) => fieldText(type, key[index], last?.[index])).join(' . ')];
  if (verb === 'add' && over !== undefined) {
    words.push(`limit rate over ${over.rate} bytes/second burst ${over.burst} bytes`);
  }
  if (verb === 'add' && comment !== undefined) words.push(`comment ${JSON.stringify(comment)}`);
  if (verb === 'add' && data !== undefined) words.push(`: ${dataText(set, data)}`);
  return `nft ${verb} element ${tableWords(table)} ${set.name} { ${words.join(' ')} }`;
}

function valueText(type: FieldType, value: Value): string {
  if (typeof value === 'bigint') return formatIpv6(value);
  if (typeof value !== 'number') return formatMac(value);
  switch (type) {
    case 'ipv4_addr':
      return formatIpv4(value as Ipv4);
    case 'mark':
      return `0x${value.toString(16).padStart(8, '0')}`;
    case 'inet_proto':
      return PROTOCOLS[value] ?? String(value);
    default:
      return String(value);
  }
}

function tableWords(table: Table): string {
  return `${table.family} ${table.name}`;
}

function setText(table: Table, set: NamedSet): string {
  const data = set.data === undefined ? '' : ` : ${set.data === 'verdict' ? 'verdict' : set.data.join(' . ')}`;
  const flags = set.interval === true ? ' flags interval;' : '';
  const expiry = set.expiresMs === undefined ? '' : ` flags dynamic,timeout; timeout ${set.expiresMs}ms;`;
  const counting = set.counting === true ? ' flags dynamic;' : '';
  const noun = set.data === undefined ? 'set' : 'map';
  return `nft add ${noun} ${tableWords(table)} ${set.name} { type ${set.key.join(' . ')}${data}; size ${set.size};${flags}${expiry}${counting} }`;
}

function chainText(table: Table, { name, base }: Chain): string {
  if (base === undefined) return `nft add chain ${tableWords(table)} ${name}`;
  const { type, hook, priority, policy } = base;
  return `nft add chain ${tableWords(table)} ${name} { type ${type} hook ${hook} priority ${priority}; policy ${policy}; }`;
}

function fieldText(type: FieldType, first: Value | undefined, last: Value | undefined): string {
  const from = first === undefined ? '' : valueText(type, first);
  const to = last === undefined ? from : valueText(type, last);
  return from === to ? from : `${from}-${to}`;
}

function dataText(set: NamedSet, data: readonly Value[] | Verdict): string {
  if (!Array.isArray(data)) return verdictText(data as Verdict);
  const types = Array.isArray(set.data) ? set.data : [];
  return types
    .map((type: FieldType, index) => fieldText(type, (data as readonly Value[])[index], undefined))
    .join(' . ');
}
