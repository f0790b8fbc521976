package submail

import (
	"strconv"
	"time"

	"connector/schema"
	"connector/sources/jsonrows"
)

// This file holds what is particular to sms/log.

func smsParams(p map[string]string, cfg *Config, q query) {
	p["offset"] = strconv.Itoa(q.offset * q.rows)
	p["to"], p["status"] = cfg.Recipient, string(cfg.ResultStatus)
}

func smsEcho(m map[string]string) echo {
	e := echo{start: number(m, "offset"), end: -1, count: number(m, "total"), rows: number(m, "results")}
	if e.start >= 0 {
		e.start++
	}
	return e
}

func smsLocal(date string, zone *time.Location) string {
	text := jsonrows.Text(date)
	return seconds(&text, zone).local
}

func smsKeys(raw []byte, zone *time.Location) (keys, error) {
	var row struct {
		SendID *jsonrows.Text `json:"sendID"`
		AppID  *jsonrows.Text `json:"appid"`
		Status *jsonrows.Text `json:"status"`
		SendAt *jsonrows.Text `json:"send_at"`
		SentAt *jsonrows.Text `json:"sent_at"`
	}
	err := jsonrows.Decode(raw, &row)
	return keys{
		appID: row.AppID.Trimmed(), id: row.SendID.Trimmed(), status: statusOf(row.Status),
		send: seconds(row.SendAt, zone), sent: seconds(row.SentAt, zone),
	}, err
}

func readSMS(raw []byte, zone *time.Location) (row, error) {
	var given struct {
		SendID        *jsonrows.Text `json:"sendID"`
		To            *jsonrows.Text `json:"to"`
		TemplateID    *jsonrows.Text `json:"template_id"`
		SMSSignature  *jsonrows.Text `json:"sms_signature"`
		SMSContent    *jsonrows.Text `json:"sms_content"`
		Fee           *jsonrows.Text `json:"fee"`
		Status        *jsonrows.Text `json:"status"`
		ReportState   *jsonrows.Text `json:"report_state"`
		DroppedReason *jsonrows.Text `json:"dropped_reason"`
		Location      *jsonrows.Text `json:"location"`
		MobileType    *jsonrows.Text `json:"mobile_type"`
		SendAt        *jsonrows.Text `json:"send_at"`
		Fields
	}
	if err := jsonrows.Decode(raw, &given); err != nil {
		return row{}, err
	}
	r := row{
		sms: schema.SMS{
			Recipient: given.To.Trimmed(), Text: given.SMSContent.Trimmed(),
			Signature: given.SMSSignature.Trimmed(), Template: given.TemplateID.Trimmed(),
			CarrierStatus: given.ReportState.Trimmed(), FailureReason: given.DroppedReason.Trimmed(),
			Carrier: given.MobileType.Trimmed(), Region: given.Location.Trimmed(),
		},
		status: given.Status, sent: seconds(given.SentAt, zone), reported: seconds(given.ReportAt, zone), fields: given.Fields,
	}
	r.fields.SentAt, r.fields.ReportAt = r.sent.unread(given.SentAt), r.reported.unread(given.ReportAt)
	var err error
	r.sms.Credits, err = decimal("fee", given.Fee)
	return r, err
}
