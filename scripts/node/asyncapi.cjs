// Validates AsyncAPI documents with the official parser, and, as that leaves them out, the examples of messages with ajv.
// Exits with 1 when one has an error or a warning. The checks are checked, too: they must refuse a document with a part broken.
const { readFileSync } = require('node:fs')
const { basename } = require('node:path')
const { Parser } = require('@asyncapi/parser')
const { default: Ajv } = require('ajv')
const { default: addFormats } = require('ajv-formats')

const warning = 1 // severity; 0 is an error, 2 and 3 are hints

async function faults(document) {
  const { diagnostics } = await new Parser().parse(JSON.stringify(document))
  const list = diagnostics.filter((d) => d.severity <= warning).map((d) => `${d.path.join('.')}: ${d.message} (${d.code})`)
  return list.length > 0 ? list : exampleFaults(document)
}

// Each message must have an example, and each example must be what the message's schemas describe.
function exampleFaults(document) {
  const ajv = addFormats(new Ajv({ strict: false, allErrors: true }))
  ajv.addSchema(document, 'document')
  const list = []
  for (const [name, message] of Object.entries(document.components.messages)) {
    if (!message.examples?.length) list.push(`message ${name} has no example`)
    for (const [i, example] of (message.examples ?? []).entries()) {
      for (const part of ['headers', 'payload']) {
        const validate = ajv.compile({ $ref: `document#/components/messages/${name}/${part}` })
        if (!validate(example[part])) list.push(`example ${i} of message ${name}: ${ajv.errorsText(validate.errors, { dataVar: part })}`)
      }
    }
  }
  return list
}

const breaks = {
  'an operation without action': (d) => delete Object.values(d.operations)[0].action,
  'a reference to nothing': (d) => (Object.values(d.operations)[0].channel.$ref = '#/channels/none'),
  'a server without host': (d) => delete Object.values(d.servers)[0].host,
  'an example without its headers': (d) => (d.components.messages.event.examples[0].headers = {}),
  'an example of another status': (d) => {
    const { payload } = d.components.messages.event.examples[0]
    ;(payload.data ?? payload).status = 'done'
  },
}

async function main() {
  for (const file of process.argv.slice(2)) {
    const text = readFileSync(file, 'utf8')
    const list = await faults(JSON.parse(text))
    for (const [name, change] of Object.entries(breaks)) {
      const broken = JSON.parse(text)
      change(broken)
      if ((await faults(broken)).length === 0) list.push(`accepted with ${name}`)
    }
    console.log(`${basename(file)}: ${list.length === 0 ? 'valid' : 'FAIL'}`)
    for (const fault of list) console.log(`  ${fault}`)
    if (list.length > 0) process.exitCode = 1
  }
}

main()
