package submail

import (
	"strconv"
	"time"

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

func smsFields(raw []byte, zone *time.Location) (Fields, moment, error) {
	var row struct {
		SendID        *jsonrows.Text           `json:"sendID"`
		To            *jsonrows.Text           `json:"to"`
		AppID         *jsonrows.Text           `json:"appid"`
		TemplateID    *jsonrows.Text           `json:"template_id"`
		SMSSignature  *jsonrows.Text           `json:"sms_signature"`
		SMSContent    *jsonrows.Text           `json:"sms_content"`
		Fee           *jsonrows.Text           `json:"fee"`
		Status        *jsonrows.Text           `json:"status"`
		ReportState   *jsonrows.Text           `json:"report_state"`
		DroppedReason *jsonrows.Text           `json:"dropped_reason"`
		Location      *jsonrows.Text           `json:"location"`
		MobileType    *jsonrows.Text           `json:"mobile_type"`
		IPAddress     *jsonrows.Text           `json:"ip_address"`
		SendAt        *jsonrows.Text           `json:"send_at"`
		SentAt        *jsonrows.Text           `json:"sent_at"`
		ReportAt      *jsonrows.Text           `json:"report_at"`
		Other         map[string]*jsonrows.Any `json:",embed"`
	}
	if err := jsonrows.Decode(raw, &row); err != nil {
		return Fields{}, moment{}, err
	}
	send, sent, report := seconds(row.SendAt, zone), seconds(row.SentAt, zone), seconds(row.ReportAt, zone)
	f := Fields{
		SendID: row.SendID, Project: row.TemplateID, Recipient: row.To, Message: row.SMSContent, Signature: row.SMSSignature,
		ResultStatus: row.Status, SendDate: send.text(row.SendAt), SentDate: sent.text(row.SentAt), Other: row.Other,
		ReportState: row.ReportState, DroppedReason: row.DroppedReason, Location: row.Location, MobileType: row.MobileType,
		IPAddress: row.IPAddress, ReportAt: report.at, AppID: row.AppID,
	}
	var err error
	f.Credit, err = decimal("fee", row.Fee)
	if !report.at.IsZero() {
		return f, report, err
	}
	return f, sent, err
}
