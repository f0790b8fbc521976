package ekuaibao

import "connector/sources"

// RowFields are what the rows hold.
var RowFields = sources.Fields{
	"name":                  {Kind: sources.KindNote, Path: "webhook.configurationName"},
	"messageId":             {Kind: sources.KindPlain, Path: "webhook.configurationId"},
	"nodeName":              {Kind: sources.KindNote, Path: "webhook.nodeName"},
	"nodeId":                {Kind: sources.KindPlain, Path: "webhook.nodeId"},
	"request":               {Kind: sources.KindBody, Path: "webhook.request"},
	"response":              {Kind: sources.KindBody, Path: "webhook.response"},
	"id":                    {Kind: sources.KindPlain},
	"flowId":                {Kind: sources.KindPlain},
	"dataLinkId":            {Kind: sources.KindPlain},
	"messageCenterConfigId": {Kind: sources.KindPlain},
	"repaymentApplyId":      {Kind: sources.KindPlain},
	"state":                 {Kind: sources.KindPlain},
	"type":                  {Kind: sources.KindPlain},
	"version":               {Kind: sources.KindPlain},
	"active":                {Kind: sources.KindPlain},
	"createTime":            {Kind: sources.KindPlain},
	"updateTime":            {Kind: sources.KindPlain},
	"corporationId":         {Kind: sources.KindPlain},
	"messageType":           {Kind: sources.KindPlain},
}
