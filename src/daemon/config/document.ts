import { z } from 'zod';
import { configSchema } from './schema.ts';

type Node = {
  readonly $ref?: string;
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly items?: Node;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
};

const HEAD = '| key | value | default | meaning |\n|---|---|---|---|';

/** Every key of the config file as Markdown: a table, then one for each kind of value that stands in several places. */
export function configTable(): string {
  const schema = z.toJSONSchema(configSchema, { io: 'input' }) as Node & { readonly $defs?: Record<string, Node> };
  const shared = Object.entries(schema.$defs ?? {}).map(
    ([name, node]) => `\`${name}\`: ${node.description ?? 'an object'}\n\n${HEAD}\n${rows(node, '').join('\n')}`,
  );
  return [`${HEAD}\n${rows(schema, '').join('\n')}`, ...shared].join('\n\n');
}

function rows(node: Node, path: string): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const own = `${path}${key}`;
    if (child.properties !== undefined && child.$ref === undefined) {
      const nested = rows(child, `${own}.`);
      return child.description === undefined ? nested : [row(own, 'object', child, false), ...nested];
    }
    return [row(own, valueText(child), child, node.required?.includes(key) ?? false)];
  });
}

function row(key: string, value: string, node: Node, required: boolean): string {
  const fallback = node.default === undefined ? (required ? 'required' : '') : `\`${JSON.stringify(node.default)}\``;
  const cells = [`\`${key}\``, value, fallback, node.description ?? ''];
  return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
}

function valueText(node: Node): string {
  if (node.$ref !== undefined) return `\`${node.$ref.replace(/^.*\//, '')}\``;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (node.items !== undefined) return `up to ${node.maxItems ?? 'any number of'} of: ${valueText(node.items)}`;
  if (node.type === 'integer' || node.type === 'number') return `${node.type}, ${node.minimum} to ${node.maximum}`;
  return node.title ?? node.type ?? 'any';
}
