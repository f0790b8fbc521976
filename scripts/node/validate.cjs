// Validates what the file sink wrote, line by line, with ajv: node.sh run validate.cjs FILE SCHEMA...
// The dataschema of a line says by which schema. Prints what is wrong with the first ten lines that are invalid, then the
// counts. Exits with 1 unless all are valid, and there are some.
const { createReadStream, readFileSync } = require('node:fs')
const { createInterface } = require('node:readline')
const { default: Ajv } = require('ajv/dist/2020')
const { default: addFormats } = require('ajv-formats')

async function main([file, ...schemas]) {
  const ajv = addFormats(new Ajv({ strict: true, allErrors: true }))
  const validators = new Map()
  for (const name of schemas) {
    const schema = JSON.parse(readFileSync(name, 'utf8'))
    validators.set(schema.$id, ajv.compile(schema))
  }
  let lines = 0
  let invalid = 0
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    lines++
    const message = JSON.parse(line)
    const validate = validators.get(message.dataschema)
    if (validate?.(message.data)) continue
    if (++invalid > 10) continue
    const why = validate ? ajv.errorsText(validate.errors, { dataVar: 'data' }) : `no schema ${message.dataschema}`
    console.log(`line ${lines}, ${message.type} ${message.id}: ${why}`)
  }
  console.log(`${lines - invalid} valid, ${invalid} invalid`)
  return invalid > 0 || lines === 0 ? 1 : 0
}

main(process.argv.slice(2)).then((code) => (process.exitCode = code))
