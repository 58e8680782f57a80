// schema/config.json: what a config file may hold, as JSON Schema (draft-07), for editors and for others who check it.

export function configSchema({ SETTINGS, keyOf, isDenial, schemaOf, VARIABLE }) {
  const settings = SETTINGS.map((row) => {
    const { default: without } = row
    const help = isDenial(row) ? `false: ${row.help}` : row.help
    return [
      keyOf(row),
      { description: without === undefined ? help : `${help}. Default: ${without}`, ...schemaOf(row) },
    ]
  })
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'reuseport-run.config',
    description: 'Made by scripts/generate.mjs from src/cli/option-table.ts.',
    type: 'object',
    additionalProperties: false,
    properties: {
      $schema: { type: 'string' },
      command: {
        description: 'the program and its arguments, if the command line names none',
        type: 'array',
        minItems: 1,
        items: { type: 'string', pattern: '^[^\\u0000]*$' },
      },
      env: {
        description: 'environment of the program, as far as neither an env file nor ours says otherwise',
        type: 'object',
        propertyNames: { pattern: VARIABLE.source },
        additionalProperties: {
          anyOf: [{ type: 'string', pattern: '^[^\\u0000]*$' }, { type: ['number', 'boolean'] }],
        },
      },
      ...Object.fromEntries(settings),
    },
  }
  return `${JSON.stringify(schema, null, 2)}\n`
}
