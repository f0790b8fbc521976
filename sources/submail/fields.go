package submail

import "connector/sources"

// RowFields are what the rows of either call hold. ip_address is none of them: the
// address that a message was submitted from is masked as a personal key.
var RowFields = sources.Fields{
	"recipient":      {Kind: sources.KindRecipient, Path: "sms.recipient"},
	"to":             {Kind: sources.KindRecipient, Path: "sms.recipient"},
	"message":        {Kind: sources.KindText, Path: "sms.text"},
	"sms_content":    {Kind: sources.KindText, Path: "sms.text"},
	"signature":      {Kind: sources.KindNote, Path: "sms.signature"},
	"sms_signature":  {Kind: sources.KindNote, Path: "sms.signature"},
	"project":        {Kind: sources.KindNote, Path: "sms.template"},
	"template_id":    {Kind: sources.KindNote, Path: "sms.template"},
	"report_state":   {Kind: sources.KindNote, Path: "sms.carrierStatus"},
	"dropped_reason": {Kind: sources.KindNote, Path: "sms.failureReason"},
	"mobile_type":    {Kind: sources.KindNote, Path: "sms.carrier"},
	"location":       {Kind: sources.KindNote, Path: "sms.region"},
	"sendID":         {Kind: sources.KindPlain},
	"result_status":  {Kind: sources.KindPlain},
	"status":         {Kind: sources.KindPlain},
	"api":            {Kind: sources.KindPlain},
	"send_date":      {Kind: sources.KindPlain},
	"sent_date":      {Kind: sources.KindPlain},
	"send_at":        {Kind: sources.KindPlain},
	"sent_at":        {Kind: sources.KindPlain},
	"report_at":      {Kind: sources.KindPlain},
	"length":         {Kind: sources.KindPlain},
	"credit":         {Kind: sources.KindPlain},
	"fee":            {Kind: sources.KindPlain},
	"appid":          {Kind: sources.KindPlain},
}
