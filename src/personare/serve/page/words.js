// The page's words. An element says which by data-t, and is itself the English one.
const WORDS = {
  en: {
    stop_record: "Stop recording", waiting: "waiting", ahead: "{0} before it", sending: "sending the files",
    stage: "{0} · {1} %", failed: "It failed: {0}", cancelled: "It was cancelled.",
    done: "{0} s of speech, {1} frames, {2} times real time", download_video: "Download the clip",
    download_curves: "Curves", download_motion: "Motion", no_text: "Write something to be said.",
    no_sound: "Choose a sound first.", no_record: "Record something first.",
    no_microphone: "The microphone cannot be used: {0}", not_ready: "not ready",
    no_reach: "The service does not answer.", empty_shelf: "Nothing here yet.", use: "Use",
    remove: "Remove", preparing: "being prepared", removing: "Remove {0}?",
    name_wrong: "A name has small letters, digits, - and _.", connecting: "connecting", idle: "listening",
    speaking: "speaking", lost: "The connection is gone. Start again.", delay: "delay",
    frames: "frames a second", no_rtc: "WebRTC did not connect within 5 seconds (UDP may be blocked)",
    service: "The service", webrtc: "WebRTC", h264: "H.264 over WebRTC", audio: "Sound",
    mic_check: "Microphone", place: "Room for jobs", works: "works",
    no_webrtc: "not in this browser; WebSocket is used, which needs nothing",
    no_h264: "not in this browser; VP8 is used, at twice the cost",
    no_worklet: "no AudioWorklet: open the page over HTTPS or on localhost",
    insecure: "browsers give the microphone to HTTPS and localhost only",
    full: "the queue is full: wait, or start the service with more --workers",
    no_h264_check: "cannot be told in this browser", disk: "Disk",
    disk_full: "nearly full: remove clips, or keep them for a shorter time (--keep-hours)",
    free: "{0} GB free", example1: "Greeting", example2: "Numbers", example3: "Chinese",
    good_photo: "A good photo.",
  },
  zh: {
    skip: "跳到内容", make: "制作", talk: "对话", shelf: "收藏", doctor: "诊断",
    face: "人脸", words: "话语", how: "方式", choose_picture: "选择图片", bundled: "使用示例",
    drop_here: "或拖放到这里：正脸，闭嘴", or_avatar: "或使用形象", none: "无", text: "文字", sound: "声音文件",
    microphone: "麦克风", voice: "嗓音", choose_sound: "选择声音", record: "录音", stop_record: "停止录音",
    engine: "引擎", more: "更多选项", want_curves: "同时写出面部曲线（ARKit）", want_motion: "同时写出引擎的动作",
    empty: "视频会出现在这里。", make_it: "制作视频", cancel: "取消", who: "谁", avatar: "形象", example_face: "示例",
    transport: "传输", auto: "自动选择", start: "开始", end: "结束", say_something: "说点什么", say: "说出来",
    speak_yourself: "自己说", interrupt: "打断", keys: "Ctrl+Enter 说出，Esc 打断。", avatars: "形象", jobs: "视频",
    name: "名称", consent: "谁同意了，以何种方式", keep: "保存为形象", doctor_says: "这个浏览器和服务能做什么，其余的该怎么办。",
    again: "重新检查", key_wanted: "此服务需要密钥", key: "API 密钥", key_kept: "只留在本标签页，关闭即忘。", go_on: "继续",
    waiting: "等待中", ahead: "前面还有 {0} 个", sending: "正在上传", stage: "{0} · {1} %", failed: "失败：{0}",
    cancelled: "已取消。", done: "{0} 秒语音，{1} 帧，{2} 倍实时", download_video: "下载视频", download_curves: "曲线",
    download_motion: "动作", no_text: "请写下要说的话。", no_sound: "请先选择声音。", no_record: "请先录音。",
    no_microphone: "无法使用麦克风：{0}", not_ready: "未就绪", no_reach: "服务没有回应。", empty_shelf: "这里还没有东西。",
    use: "使用", remove: "删除", preparing: "准备中", removing: "删除 {0}？", name_wrong: "名称只能用小写字母、数字、- 和 _。",
    connecting: "连接中", idle: "聆听中", speaking: "说话中", lost: "连接已断开，请重新开始。",
    delay: "延迟", frames: "每秒帧数", no_rtc: "WebRTC 在 5 秒内未连上（UDP 可能被阻止）",
    service: "服务", webrtc: "WebRTC", h264: "WebRTC 的 H.264", audio: "声音",
    mic_check: "麦克风", place: "任务空位", works: "正常", no_webrtc: "此浏览器没有；改用 WebSocket，无需其他条件",
    no_h264: "此浏览器没有；改用 VP8，开销加倍", no_worklet: "没有 AudioWorklet：请用 HTTPS 或 localhost 打开",
    insecure: "浏览器只向 HTTPS 和 localhost 提供麦克风", full: "队列已满：请等待，或用更多 --workers 启动服务",
    no_h264_check: "此浏览器无法判断", disk: "磁盘",
    disk_full: "快满了：删除视频，或缩短保留时间（--keep-hours）", free: "剩余 {0} GB",
    example1: "问候", example2: "数字", example3: "中文", good_photo: "照片合适。",
  },
};
let language = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
export const t = (name, ...values) =>
  (WORDS[language][name] ?? WORDS.en[name] ?? name).replace(/\{(\d)\}/g, (_, i) => values[i]);
export const chosen = () => language;
export function translate(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const it of root.querySelectorAll("[data-t]")) {
    WORDS.en[it.dataset.t] ??= it.textContent;
    it.textContent = t(it.dataset.t);
  }
  for (const it of root.querySelectorAll("[data-t-label]")) it.setAttribute("aria-label", t(it.dataset.tLabel));
}
export function change() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  translate();
}
