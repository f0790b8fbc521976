package submail

import (
	"strconv"
	"strings"
	"time"

	"connector/schema"
	"connector/sources/jsonrows"
)

// This file holds what is particular to log/message.

func messageParams(p map[string]string, cfg *Config, q query) {
	p["order_by"] = "asc"
	p["offset"] = strconv.Itoa(q.offset)
	p["recipient"], p["project"], p["result_status"] = cfg.Recipient, cfg.Project, string(cfg.ResultStatus)
}

func messageEcho(m map[string]string) echo {
	return echo{start: number(m, "start_row"), end: number(m, "end_row"), count: number(m, "count"), rows: -1}
}

func messageLocal(date string, _ *time.Location) string { return strings.TrimSpace(date) }

func messageKeys(raw []byte, _ *time.Location) (keys, error) {
	var row struct {
		SendID       *jsonrows.Text `json:"sendID"`
		ResultStatus *jsonrows.Text `json:"result_status"`
		SendDate     *jsonrows.Text `json:"send_date"`
		SentDate     *jsonrows.Text `json:"sent_date"`
	}
	err := jsonrows.Decode(raw, &row)
	return keys{
		id: row.SendID.Trimmed(), status: statusOf(row.ResultStatus),
		send: moment{local: row.SendDate.Trimmed()}, sent: moment{local: row.SentDate.Trimmed()},
	}, err
}

func readMessage(raw []byte, _ *time.Location) (row, error) {
	var given struct {
		SendID       *jsonrows.Text `json:"sendID"`
		Project      *jsonrows.Text `json:"project"`
		Recipient    *jsonrows.Text `json:"recipient"`
		Message      *jsonrows.Text `json:"message"`
		Signature    *jsonrows.Text `json:"signature"`
		ResultStatus *jsonrows.Text `json:"result_status"`
		Length       *jsonrows.Text `json:"length"`
		Credit       *jsonrows.Text `json:"credit"`
		Fields
	}
	if err := jsonrows.Decode(raw, &given); err != nil {
		return row{}, err
	}
	r := row{
		sms: schema.SMS{
			Recipient: given.Recipient.Trimmed(), Text: given.Message.Trimmed(),
			Signature: given.Signature.Trimmed(), Template: given.Project.Trimmed(),
		},
		status: given.ResultStatus, sent: moment{local: given.SentDate.Trimmed()}, fields: given.Fields,
	}
	var err error
	if r.sms.Length, err = integer("length", given.Length); err != nil {
		return row{}, err
	}
	r.sms.Credits, err = decimal("credit", given.Credit)
	return r, err
}
