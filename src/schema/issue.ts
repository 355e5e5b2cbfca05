import { z } from 'zod';
import { InputError } from '../errors.ts';

type Issue = z.core.$ZodIssue;

const MAX_QUOTED_CHARS = 40;

/**
 * The first thing that is wrong with an input, as the caller should read it.
 *
 * @param code for what has no code of its own, such as `invalid_request`
 * @param whole what to call the input where no field of it is to blame, such as `body`
 */
export function inputError(error: z.core.$ZodError, code: string, whole: string): InputError {
  const issue = worst(error.issues);
  if (issue === undefined) return new InputError(code, `Cannot use ${whole}: it is not valid`, { cause: error });
  const field = fieldPath(path(issue)) || whole;
  if (issue.code === 'custom') {
    const own: unknown = issue.params?.['code'];
    return new InputError(typeof own === 'string' ? own : code, issue.message, { field });
  }
  return new InputError(code, `Cannot use ${field}: ${issue.message}`, { field });
}

/**
 * Reads with a parser of the domain, such as `parseIpv4`, inside a schema: its InputError becomes the schema's issue,
 * with its code and its message, and the path within the value where it names one.
 */
export function readWith<Text, Value>(parse: (text: Text) => Value): (text: Text, ctx: z.RefinementCtx) => Value {
  return (text, ctx) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      ctx.issues.push({
        code: 'custom',
        message: error.message,
        input: text,
        path: keysOf(error.field ?? ''),
        params: { code: error.code },
      });
      return z.NEVER;
    }
  };
}

/** An object that refuses a key it does not know, and says which it knows. */
export function closedObject<Shape extends z.core.$ZodShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys' ? `no such field, want ${listed(Object.keys(shape))}` : undefined,
  });
}

/** `policy.allow[2]` */
function fieldPath(keys: readonly PropertyKey[]): string {
  return keys.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    const name = shorten(String(key));
    return text === '' ? name : `${text}.${name}`;
  }, '');
}

/** The keys of a path such as `allow[2]`. */
function keysOf(field: string): PropertyKey[] {
  const keys = field.match(/[^.[\]]+/g) ?? [];
  return keys.map((key) => (/^\d+$/.test(key) ? Number(key) : key));
}

/** Messages in the house's voice, for every schema that has none of its own. */
function issueText(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? `it is missing, want ${article(issue.expected)}`
        : `want ${article(issue.expected)}, got ${shown(issue.input)}`;
    case 'invalid_value':
      return `want ${listed(issue.values.map(String))}, got ${shown(issue.input)}`;
    case 'too_small':
      return `want at least ${sized(issue.minimum, issue.origin)}, got ${measured(issue.input)}`;
    case 'too_big':
      return `want at most ${sized(issue.maximum, issue.origin)}, got ${measured(issue.input)}`;
    case 'invalid_format':
      return `${shown(issue.input)} does not have the form it needs`;
    case 'unrecognized_keys':
      return 'no such field';
    default:
      return `${shown(issue.input)} is not valid`;
  }
}

z.config({ customError: issueText });

/** A key that is unknown is often a key that is misspelt: it says more than the missing one it was meant for. */
function worst(issues: readonly Issue[]): Issue | undefined {
  return issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
}

function path(issue: Issue): PropertyKey[] {
  if (issue.code !== 'unrecognized_keys') return issue.path;
  return [...issue.path, ...issue.keys.slice(0, 1)];
}

function article(expected: string): string {
  switch (expected) {
    case 'array':
    case 'object':
    case 'integer':
      return `an ${expected}`;
    case 'int':
      return 'an integer';
    case 'never':
      return 'nothing';
    default:
      return `a ${expected}`;
  }
}

function listed(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

function sized(limit: number | bigint, origin: string): string {
  if (origin === 'string') return `${limit} characters`;
  return origin === 'array' ? `${limit} items` : String(limit);
}

function measured(input: unknown): string {
  if (typeof input === 'string' || Array.isArray(input)) return String(input.length);
  return shown(input);
}

/** Only what is short by nature or cut short: a message must not carry a whole request. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(shorten(value));
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}

function shorten(text: string): string {
  return text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS)}…` : text;
}
