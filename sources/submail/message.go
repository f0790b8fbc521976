package submail

import (
	"strconv"
	"strings"
	"time"

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

func messageFields(raw []byte, _ *time.Location) (Fields, moment, error) {
	var row struct {
		SendID       *jsonrows.Text           `json:"sendID"`
		Project      *jsonrows.Text           `json:"project"`
		Recipient    *jsonrows.Text           `json:"recipient"`
		Message      *jsonrows.Text           `json:"message"`
		Signature    *jsonrows.Text           `json:"signature"`
		ResultStatus *jsonrows.Text           `json:"result_status"`
		API          *jsonrows.Text           `json:"api"`
		SendDate     *jsonrows.Text           `json:"send_date"`
		SentDate     *jsonrows.Text           `json:"sent_date"`
		Length       *jsonrows.Text           `json:"length"`
		Credit       *jsonrows.Text           `json:"credit"`
		Other        map[string]*jsonrows.Any `json:",embed"`
	}
	if err := jsonrows.Decode(raw, &row); err != nil {
		return Fields{}, moment{}, err
	}
	f := Fields{
		SendID: row.SendID, Project: row.Project, Recipient: row.Recipient, Message: row.Message, Signature: row.Signature,
		ResultStatus: row.ResultStatus, API: row.API, SendDate: row.SendDate, SentDate: row.SentDate, Other: row.Other,
	}
	var err error
	if f.Length, err = integer("length", row.Length); err != nil {
		return f, moment{}, err
	}
	f.Credit, err = decimal("credit", row.Credit)
	return f, moment{local: row.SentDate.Trimmed()}, err
}
