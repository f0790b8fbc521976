package privacy

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// personalKeys are names of members whose values are personal or secret, as
// [appendKey] writes them. docs/privacy.md lists them; a test compares.
var personalKeys = []string{
	// numbers and addresses of persons
	"phone", "phoneno", "phonenum", "phonenumber", "mobile", "mobileno", "mobilenum", "mobilenumber", "mobilephone", "cellphone", "cell",
	"tel", "telno", "telephone", "fax", "msisdn", "recipient", "recipients", "receiver", "to", "mail", "email", "mailbox", "emailaddress", "mailaddress",
	"wechat", "weixin", "wechatid", "openid", "unionid", "qq", "ip", "ipaddress", "ipaddr", "clientip", "userip", "remoteip", "remoteaddr",
	"address", "addr", "homeaddress", "streetaddress", "street", "postcode", "zipcode",
	// documents, accounts, birth
	"idcard", "idcardno", "idcardnumber", "idno", "idnumber", "identity", "identityno", "identitycard", "idcertno", "certno", "certnumber", "certificateno",
	"passport", "passportno", "passportnumber", "ssn", "taxid", "bankcard", "bankcardno", "bankaccount", "bankaccountno", "bankno", "cardno", "cardnumber",
	"accountno", "accountnumber", "accountname", "iban", "payeeaccount", "birthday", "birthdate", "birth", "dateofbirth", "gender", "sex", "age",
	// names
	"name", "realname", "fullname", "firstname", "lastname", "givenname", "familyname", "surname", "nickname", "username", "staffname",
	"employeename", "personname", "customername", "membername", "contactname", "contact", "contacts", "receivername", "recipientname", "payeename",
	"ownername", "submittername", "creatorname", "approvername", "operatorname", "login", "loginname", "displayname", "enname", "cnname",
	// secrets and codes
	"password", "passwd", "pwd", "passphrase", "pin", "token", "accesstoken", "refreshtoken", "idtoken", "secret", "appsecret", "clientsecret",
	"secretkey", "appkey", "apikey", "accesskey", "privatekey", "appsecurity", "authorization", "auth", "credential", "credentials", "cookie", "setcookie", "session", "sessionid", "jwt",
	"signature", "sign", "otp", "captcha", "verifycode", "verificationcode", "vcode", "smscode", "authcode", "checkcode", "securitycode", "cvv",
	// 中文
	"手机", "手机号", "手机号码", "电话", "电话号码", "联系电话", "联系方式", "邮箱", "电子邮箱", "邮件", "微信", "微信号", "地址", "住址", "家庭住址", "收货地址",
	"身份证", "身份证号", "身份证号码", "证件号", "证件号码", "护照", "护照号", "银行卡", "银行卡号", "卡号", "银行账号", "账号", "帐号", "户名",
	"姓名", "名字", "真实姓名", "用户名", "联系人", "收件人", "收款人", "员工姓名", "昵称", "生日", "出生日期", "性别", "年龄",
	"密码", "口令", "验证码", "校验码", "动态码",
}

// personalEndings are what names of such members end with, as in contactPhone
// and 客户手机号.
var personalEndings = []string{
	"phone", "phoneno", "phonenumber", "mobile", "mobileno", "mobilenumber", "email", "idcard", "idcardno", "bankcard", "bankcardno",
	"password", "passwd", "token", "secret", "authorization", "cookie", "realname", "username", "staffname", "fullname", "address",
	"手机", "手机号", "手机号码", "电话", "电话号码", "邮箱", "姓名", "身份证", "身份证号", "身份证号码", "银行卡", "银行卡号", "卡号", "账号", "地址", "住址", "密码", "验证码",
}

// textKeys are names of members that hold the text of a message.
var textKeys = []string{"content", "text", "sms", "smscontent", "smstext", "msgcontent", "messagecontent", "messagetext", "内容", "短信", "短信内容", "正文"}

var personal, texts = set(personalKeys), set(textKeys)

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}

// appendKey appends a name in the form in which names are compared: in lower
// case, full-width characters as ASCII, without white space and punctuation of ASCII.
func appendKey[T string | []byte](b []byte, name T) []byte {
	for _, c := range string(name) {
		switch c = unicode.ToLower(narrow(c)); {
		case unicode.IsSpace(c) || invisible(c) || c < utf8.RuneSelf && !isAlnum(c):
		case c < utf8.RuneSelf:
			b = append(b, byte(c))
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return b
}

// plurals are endings that make no difference, as digits make none: phones, mobileList, email2.
var plurals = []string{"", "s", "es", "list"}

// leastPlural is the length of the shortest name that has a plural.
const leastPlural = 3

// isPersonal reports whether the value under a name, as appendKey writes it, is personal.
func isPersonal(key []byte) bool {
	key = bytes.TrimRight(key, "0123456789")
	for _, plural := range plurals {
		if one, ok := bytes.CutSuffix(key, []byte(plural)); ok && (plural == "" || len(one) >= leastPlural) && isPersonalName(one) {
			return true
		}
	}
	return false
}

func isPersonalName(key []byte) bool {
	if personal[string(key)] {
		return true
	}
	for _, ending := range personalEndings {
		if len(ending) < len(key) && string(key[len(key)-len(ending):]) == ending {
			return true
		}
	}
	return false
}

// codeWords announce a code in a text.
var codeWords = []string{
	"验证码", "校验码", "动态码", "动态密码", "短信码", "提取码", "授权码", "口令", "密码", "驗證碼", "认证码", "确认码", "激活码", "随机码",
	"verification code", "verify code", "security code", "passcode", "password", "one-time", "otp", "captcha",
}

// announcesCode reports whether a text seems to hold a code.
func announcesCode(s string) bool {
	lower := strings.ToLower(s)
	for _, word := range codeWords {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}
