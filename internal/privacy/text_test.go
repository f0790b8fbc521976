package privacy

import (
	"strings"
	"testing"

	"connector/internal/secret"
)

func TestMaskText(t *testing.T) {
	tests := []struct{ in, want string }{
		{"您的验证码：0483，请在 5 分钟内输入。", "您的验证码：***，请在 5 分钟内输入。"},
		{"code G-483920 or 48 39 20 or 48-39-20", "code *** or *** or ***"},
		{"code ４８３９２０, ٤٨٣٩٢٠", "code ***, ***"},
		{"4 8 3 9 2 0", "***"},
		{"4\u200b8\u200b3\u200b9", "***"},
		{"12 期 3 天", "12 期 3 天"},
		{"1-2 天, 123 元", "1-2 天, 123 元"},
		{"ab1-cd2-ef3", "***"},
		{"well-known words stay", "well-known words stay"},
		{"拨打 138 0013 8000 或 +86 13800138000", "拨打 *** 或 +***"},
		{"邮箱 zhang.san@example.com，谢谢", "邮箱 ***，谢谢"},
		{"zhang＠example.com", "***"},
		{"点击 https://t.cn/AbCdEf?x=yz 退订", "点击 https://t.cn/*** 退订"},
		{"点击 t.cn/AbCdEf 退订", "点击 t.cn/*** 退订"},
		{"http://localhost/abc", "http://localhost/***"},
		{`\u0034\u0038\u0033\u0039`, "***"},
		{`\\u0034\\u0038\\u0033\\u0039`, "***"},
		{"%34%38%33%39 &#52;&#x38;&#51;&#57;", "***"},
		{"%2534%2538%2533%2539", "***"},
		{`\u00344\u00338`, "***"},
		{"50% 折扣 & 更多", "50% 折扣 & 更多"},
		{`\u4f60\u597d`, "你好"}, // the escape itself has digits
		{"A1B2 C3", "*** C3"},
		{"4\ufe0f\u20e38\ufe0f\u20e33\ufe0f\u20e39\ufe0f\u20e3", "***\ufe0f\u20e3"},
		{"邮箱 张三@example.com，谢谢", "邮箱 ***，谢谢"},
	}
	for _, tt := range tests {
		if got := maskText(tt.in); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestMaskPatterns(t *testing.T) {
	tests := []struct{ in, want string }{
		{"order 20260119-0001 of 13800138000", "order 20260119-0001 of ***"},
		{"+86 138-0013-8000; 0086 13800138000", "***; ***"},
		{"tel13800138000x", "tel***x"},
		{"１３８００１３８０００", "***"},
		{"%31%33800138000", "***"},
		{"1505372614157", "1505372614157"},
		{"138001380001", "138001380001"},
		{"11010519491231002X", "***"},
		{"id 110105194912310021.", "id ***."},
		{"id 110105194913310021.", "id 110105194913310021."}, // no date
		{"a@b.cn", "***"},
		{"验证码 1234", "验证码 ***"},
		{"余额 1234", "余额 1234"},
		{"138.0013.8000, 138  0013  8000; 138/0013/8000", "***, ***; ***"},
		{"138–0013–8000, 138\u00a00013\u00a08000, 138\u200b00138000, 138+0013+8000", "***, ***, ***, ***"},
		{"139.69171234 131.0.6778.85 138.0013.80001", "139.69171234 131.0.6778.85 138.0013.80001"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := MaskPatterns(tt.in); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestRecipient(t *testing.T) {
	p := New(Standard, Rules{}, secret.New("key"), false)
	tests := []struct{ in, want, same string }{
		{"13800138000", "138******00", "13800138000"},
		{"+86 138-0013-8000", "138******00", "13800138000"},
		{"008613800138000", "138******00", "13800138000"},
		{"8613800138000", "138******00", "13800138000"},
		{"１３８００１３８０００", "138******00", "13800138000"},
		{"+14155550123", "+141******23", "0014155550123"},
		{"8613800138", "861*****38", "8613800138"},
		{"10086", "***", "10086"},
		{"1008612", "*****12", "1008612"},
		{"13800138000,13900139000", "138******00,139******00", "13800138000, 8613900139000"},
		{"张三", "***", "张三"},
		{"张三<13800138000>", "138******00", "13800138000"},
		{"138******00", "138******00", "138******00"},
		{"1380013*****00", "138****00", "1380013*****00"},
		{"", "", ""},
		{",", "", ""},
	}
	for _, tt := range tests {
		got := maskRecipient(tt.in)
		if got != tt.want || maskRecipient(got) != got {
			t.Errorf("%s: got %s, then %s, want %s", tt.in, got, maskRecipient(got), tt.want)
		}
		if got, want := p.HashRecipient(tt.in), p.HashRecipient(tt.same); got != want {
			t.Errorf("%s: got hash %s, want that of %s", tt.in, got, tt.same)
		}
	}
	for masked, want := range map[string]string{"138****8000": "", "138xxxxxxxx": "", "13800138000,139****0000": p.HashRecipient("13800138000")} {
		if got := p.HashRecipient(masked); got != want {
			t.Errorf("%s: got hash %q, want %q", masked, got, want)
		}
	}
	if p.HashRecipient("13800138000") == p.HashRecipient("13800138001") {
		t.Error("two numbers have one hash")
	}
}

func TestMaskUnparsed(t *testing.T) {
	p := New(Standard, Rules{}, secret.New("key"), false)
	tests := []struct{ in, want string }{
		{`{"realName":"张三","flow":"x","sum":12`, `{"realName":"***","flow":"x","sum":12`},
		{`{"realName":"张三`, `{"realName":"***`},
		{`{"request":"{\"realName\":\"张\\\"三\",\"x\":1}"`, `{"request":"{\"realName\":\"***\",\"x\":1}"`},
		{`{"phone":13800138000,"a":"b"}`, `{"phone":***,"a":"b"}`},
		{`{"phone":["a","b"],"a":"b"}`, `{"phone":***`},
		{`{"ph\u006fne":"ab","a":"b"}`, `{"phone":"***","a":"b"}`},
		{`{"用户姓名" : "张三"}`, `{"用户姓名" : "***"}`},
		{`<row><realName>张三</realName><x>y</x><phone/></row>`, `<row><realName>***</realName><x>y</x><phone/></row>`},
		{`<a:name x="1"><b>张三</b></a:name>`, `<a:name x="1">***</a:name>`},
		{`<realName><![CDATA[张三]]>`, `<realName>***`},
		{`a=b&mobile=abc&x=y`, `a=b&mobile=***&x=y`},
		{`a%3Db%26mobile%3Dabc%26x%3Dy`, `a=b&mobile=***&x=y`},
		{`姓名：张三，状态：失败`, `姓名：***，状态：失败`},
		{`'name' => 'x y', 'z'`, `'name' => '***', 'z'`},
		{`Authorization: Bearer abc` + "\n" + `Host: x`, `Authorization: ***` + "\n" + `Host: x`},
		{`{"id":"7ac69ff98e48"}`, `{"id":"***"}`},
		{`{&quot;phone&quot;:&quot;abc&quot;}`, `{"phone":"***"}`},
		{`a=b&realName=Smith,%20John&c=d`, `a=b&realName=***&c=d`},
		{`a=b&realName=Smith, John&c=d`, `a=b&realName=***&c=d`},
		{`a=b&realName=Smith, John`, `a=b&realName=***`},
		{`phone=ab cd, name=ef gh=x`, `phone=*** cd, name=*** gh=x`},
		{`phone[]=ab&user[phone]=cd&phone[0]=ef&mobile2=gh`, `phone[]=***&user[phone]=***&phone[0]=***&***=***`},
		{`<name><nameCn>x</nameCn>Smith</name><b>y</b>`, `<name>***</name><b>y</b>`},
		{`<name <b>Smith</b></name>`, `<name ***</name>`},
		{"Cookie: a=b; c=d e\nHost: x", "Cookie: ***\nHost: x"},
		{"curl -H 'Set-Cookie: a=b; c=d' x", "curl -H 'Set-Cookie: ***' x"},
	}
	for _, tt := range tests {
		got := p.maskUnparsed(tt.in)
		if got != tt.want || p.maskUnparsed(got) != got {
			t.Errorf("%s:\n got %s\nthen %s\nwant %s", tt.in, got, p.maskUnparsed(got), tt.want)
		}
	}
}

func TestBody(t *testing.T) {
	p := New(Standard, Rules{}, secret.New("key"), false)
	tests := []struct{ in, want string }{
		{`{"a":1,"b":[true,null,"x"]}`, `{"a":1,"b":[true,null,"x"]}`},
		{`{"a": 1.50, "big": 12345678901234567890 }`, `{"a": 1.50, "big": 12345678901234567890 }`},
		{`{"phone":"13800138000","Mobile_No":1,"real-name":{"a":1},"email":["x"],"tel":null,"pin":""}`, `{"phone":"***","Mobile_No":"***","real-name":"***","email":"***","tel":null,"pin":""}`},
		{`{"手机":1,"客户姓名":"x"}`, `{"手机":"***","客户姓名":"***"}`},
		{`{"phones":["x"],"mobileList":["x"],"mobile_1":"x","addresses":"x","phoneNumbers":1,"userMobile2":"x","手机1":"x"}`, `{"phones":"***","mobileList":"***","mobile_1":"***","addresses":"***","phoneNumbers":"***","userMobile2":"***","手机1":"***"}`},
		{`{"phone[0]":"x","user[phone]":"x","Phone:":"x","1":"x","s":"x","list":"x"}`, `{"phone[0]":"***","user[phone]":"***","Phone:":"***","1":"x","s":"x","list":"x"}`},
		{`{"n":[1.3800138e10,1.3800138000E+10,1.10105194912310021e17,1.2e10,1e999]}`, `{"n":["***","***","***",1.2e10,1e999]}`},
		{`{"x":{"y":[{"passWord":1}]}}`, `{"x":{"y":[{"passWord":"***"}]}}`},
		{`{"x":"call 13800138000","n":13800138000,"ts":1505372614157}`, `{"x":"call ***","n":"***","ts":1505372614157}`},
		{`{"x":"\u0031\u0033800138000"}`, `{"x":"***"}`},
		{`{"13800138000":1,"a@b.cn":2}`, `{"***1":1,"***2":2}`},
		{`{"x":"{\"phone\":\"1\",\"y\":[2]}"}`, `{"x":"{\"phone\":\"***\",\"y\":[2]}"}`},
		{`{"x":"{\"y\": [2]}"}`, `{"x":"{\"y\": [2]}"}`},
		{`{"x":"{\"phone\":\"1"}`, `{"x":"{\"phone\":\"***"}`},
		{`{"x":"a=b&realName=%E5%BC%A0&c=d"}`, `{"x":"a=b&realName=***&c=d"}`},
		{`{"x":"<r><name>Z</name><code>0</code></r>"}`, `{"x":"<r><name>***</name><code>0</code></r>"}`},
		{`{"content":"订单 1234 已发货","code":40001}`, `{"content":"订单 *** 已发货","code":40001}`},
		{`{"msg":"您的验证码是 1234"}`, `{"msg":"您的验证码是 ***"}`},
		{`"OK 1234"`, `"OK ***"`},
		{`{"smsContent":"{\"code\":\"4839\",\"x\":[4839,\"{\\\"y\\\":4839}\"]}"}`, `{"smsContent":"{\"code\":\"***\",\"x\":[\"***\",\"{\\\"y\\\":\\\"***\\\"}\"]}"}`},
		{`13800138000`, `"***"`},
		{`"13800138000,13900139000"`, `"***,***"`},
		{`{"url":"https://x.cn/cb?token=abcdef&a=b"}`, `{"url":"https://x.cn/cb?token=***&a=b"}`},
		{`{"date":"2026-01-19 07:21:27","id":"ID01abc2345"}`, `{"date":"2026-01-19 07:21:27","id":"ID01abc2345"}`},
	}
	for _, tt := range tests {
		out, _, err := p.rewrite([]byte(tt.in), 0, func(w *rewriter) error { return w.value(body, 0) })
		if string(out) != tt.want || err != nil {
			t.Errorf("%s:\n got %s, %v\nwant %s", tt.in, out, err, tt.want)
		}
		again, changed, _ := p.rewrite(out, 0, func(w *rewriter) error { return w.value(body, 0) })
		if changed || string(again) != string(out) {
			t.Errorf("%s: again, got %s", tt.in, again)
		}
	}
	deep := strings.Repeat(`{"a":`, 9000) + "13800138000" + strings.Repeat("}", 9000)
	if out, _, err := p.rewrite([]byte(deep), 0, func(w *rewriter) error { return w.value(body, 0) }); err != nil || strings.Contains(string(out), "1380") {
		t.Errorf("deep: got %v", err)
	}
	for _, in := range []string{`{"a":1`, `{"a":1}}`, `{} {}`, ``, `{"a" 1}`} {
		if _, _, err := p.rewrite([]byte(in), 0, func(w *rewriter) error { return w.value(body, 0) }); err == nil {
			t.Errorf("%s: got no error", in)
		}
	}
}

// TestMaskMessage has texts that happen to be JSON.
func TestMaskMessage(t *testing.T) {
	p := New(Standard, Rules{}, secret.New("key"), false)
	for _, tt := range []struct{ in, want string }{
		{"[483920]", `["***"]`},
		{`["483920"]`, `["***"]`},
		{`{"code":"483920","text":"x 4839","n":12}`, `{"code":"***","text":"x ***","n":12}`},
		{`"483920"`, `"***"`},
		{"[483920] is your code", "[***] is your code"},
		{`[["[4839]"]]`, `[["[\"***\"]"]]`},
	} {
		if got := p.maskMessage(tt.in, 0); got != tt.want || p.maskMessage(got, 0) != got {
			t.Errorf("%s: got %s, then %s, want %s", tt.in, got, p.maskMessage(got, 0), tt.want)
		}
	}
}
